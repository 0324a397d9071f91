"""The cause of an error, from what is known of it (contract section 3, `category`). Pure.

Rules are tried in order; the first that fits decides. More telling ones come first: a context that
is too long comes as a 400, a spent quota as a 429, and both say so in their message.
"""

import re
from typing import Final

CATEGORIES: Final = (
    "rate_limit",
    "timeout",
    "context_length",
    "auth",
    "provider_down",
    "malformed_response",
    "content_filter",
    "process_crash",
    "oom_kill",
    "unhandled_exception",
    "disk_full",
    "network",
    "dns",
    "permission_denied",
    "out_of_memory",
    "other",
)
"""Those that are derived. An agent may send any other."""

MAX_SCANNED: Final = 2000
"""Characters of a message looked at: the cause is said early, or last in a chain of errors."""

_RULES: Final = tuple(
    (category, re.compile(pattern.lower()))
    for category, pattern in (
        (
            "context_length",
            r"context[ _-]?(?:length|window|size|overflow|limit)|prompt is too long|"
            r"maximum context|"
            r"too many (?:input |total )?tokens(?! per)|input (?:token count|is too long|length)|"
            r"(?:request|input|prompt)[^.]{0,40}exceeds? [^.]{0,40}(?:token|context)|"
            r"reduce the length of the (?:messages|prompt)|request_too_large|max_tokens_exceeded|"
            r"exceed_context_size",
        ),
        (
            "content_filter",
            r"content[ _-]?(?:filter|policy|management|moderation)|responsible ?ai ?policy|"
            r"\bsafety\b|prohibited_content|usage polic|flagged|moderation|guardrail|"
            r"blocked due to|recitation",
        ),
        ("oom_kill", r"oom[ _-]?kill|killed by the kernel|exit(?:ed)?(?: with)?(?: code)? 137\b"),
        (
            "out_of_memory",
            r"out of memory|heap limit|memoryerror|cannot allocate memory|ENOMEM|"
            r"allocation failed|requires more system memory",
        ),
        (
            "disk_full",
            r"ENOSPC|no space left|disk (?:is )?full|database or disk is full|EDQUOT|"
            r"quota exceeded on (?:disk|volume)",
        ),
        (
            "dns",
            r"ENOTFOUND|EAI_AGAIN|EAI_NONAME|getaddrinfo|name or service not known|nameresolution|"
            r"name resolution|resolve host|dns (?:lookup|error|failure|probe)|no such host|"
            r"NXDOMAIN",
        ),
        (
            "auth",
            r"invalid[ _-]?(?:x-)?api[ _-]?key|incorrect api key|api[ _-]?key (?:not valid|expired|"
            r"is missing|was reported)|authentication|unauthori[sz]ed|unauthenticated|"
            r"invalid[ _](?:token|credential|grant)|expired[ _]?token|token (?:has )?expired|"
            r"no (?:auth )?credentials|could not (?:be )?load credentials|"
            r"could not resolve authentication|no api key|missing api key|"
            r"unrecognizedclient|signature (?:we calculated )?does not match|"
            r"security token|user not found|invalid_api_key|oauth",
        ),
        (
            "rate_limit",
            r"rate[ _-]?limit|too many requests|throttl|quota|resource[ _]?(?:has been )?exhausted|"
            r"tokens per (?:min|day)|requests per (?:min|day)|insufficient[ _]?(?:quota|credit|"
            r"balance|funds)|credit balance|payment required|requires more credits|"
            r"usage limit|spend(?:ing)? limit|billing|\b(?:429|402)\b",
        ),
        (
            "timeout",
            r"time[ds]?[ _-]?out|deadline[ _]?exceeded|ETIMEDOUT|ESOCKETTIMEDOUT|\btimeout|"
            r"TimeoutError|\b(?:408|504)\b|took too long|abort(?:ed|error)[^.]{0,40}timeout",
        ),
        (
            "provider_down",
            r"overloaded|service[ _]?unavailable|bad gateway|internal server error|server_error|"
            r"server had an error|api_error|\bInternalServerError|ServiceUnavailable|"
            r"internalserverexception|model ?not ?ready|no (?:instances|endpoints|healthy)|"
            r"provider returned error|upstream|currently (?:overloaded|unavailable|loading)|"
            r"try again later|\b(?:500|502|503|520|521|522|524|529)\b|model_?error",
        ),
        (
            "malformed_response",
            r"(?:unexpected|invalid)[^.]{0,30}\bjson|json(?:decodeerror|\.parse|[^.]{0,20}(?:parse|"
            r"decode))|(?:parse|parsing|decode|decoding)[^.]{0,30}\b(?:response|json|stream|answer)|"
            r"unexpected (?:token|end of (?:json|data|input))|malformed|"
            r"empty (?:response|completion)|invalid (?:response|tool call|chunk)|"
            r"response[^.]{0,30}(?:malformed|invalid|empty)|expecting value|unterminated string|"
            r"without (?:content|choices)|incomplete (?:terminal )?response|stream ended",
        ),
        (
            "permission_denied",
            r"EACCES|EPERM|permission[ _]?denied|operation not permitted|"
            r"access[ _]?denied|PermissionError|forbidden|not authorized|EROFS|"
            r"read-only file system|\b403\b",
        ),
        (
            "network",
            r"ECONN(?:REFUSED|RESET|ABORTED)|EPIPE|ENETUNREACH|EHOSTUNREACH|ENETDOWN|EADDR|"
            r"connection (?:refused|reset|closed|error|aborted|lost|broken)|connect error|"
            r"network|socket hang up|other side closed|terminated|fetch failed|broken pipe|"
            r"\bssl\b|\btls\b|certificate|unreachable|remotedisconnected|incompleteread|"
            r"peer closed|proxyerror|ConnectionError|UND_ERR_|ERR_STREAM_PREMATURE|"
            r"premature close|disconnected",
        ),
        (
            "process_crash",
            r"\bSIG(?:SEGV|ABRT|KILL|BUS|ILL|TERM)\b|segmentation fault|core dumped|"
            r"exited (?:unexpectedly|with)|process (?:died|vanished|exited|crashed)|crash",
        ),
        (
            "unhandled_exception",
            r"unhandled|uncaught|traceback|TypeError|ReferenceError|RangeError|SyntaxError|KeyError|"
            r"AttributeError|ValueError|IndexError|NameError|ZeroDivisionError|AssertionError|"
            r"ImportError|ModuleNotFound|cannot read propert|is not a function|is not defined|"
            r"RuntimeError|RecursionError|exception",
        ),
    )
)

_STATUS: Final = {
    401: "auth",
    402: "rate_limit",
    403: "auth",
    407: "auth",
    408: "timeout",
    413: "context_length",
    425: "provider_down",
    429: "rate_limit",
    504: "timeout",
}
"""What an HTTP status of a provider means when no words say more; all other 5xx: the provider."""

_TOLD_BY_WORDS: Final = ("context_length", "content_filter", "rate_limit", "auth")
"""Causes that providers put into the message of another status: these words outweigh it."""


def category(
    error_type: str,
    message: str,
    *,
    status_code: int | None = None,
    exception: str | None = None,
) -> str:
    """One of `CATEGORIES`. `error_type` is the contract's, `exception` a class or error code."""
    if len(message) > MAX_SCANNED:
        message = message[: MAX_SCANNED // 2] + message[-MAX_SCANNED // 2 :]
    message = message.lower()
    by_words = _by_words(message)
    if by_words in _TOLD_BY_WORDS and error_type == "llm_error":
        return by_words
    by_status = _by_status(status_code) if status_code is not None else None
    if by_status is not None:
        return by_status
    named = _by_words(exception.lower()) if exception else None
    if named is not None and (by_words is None or named not in _VAGUE):
        return named
    return by_words or _DEFAULTS.get(error_type, "other")


def _by_words(text: str) -> str | None:
    return next((name for name, rule in _RULES if rule.search(text)), None)


def _by_status(status_code: int) -> str | None:
    if status_code >= 500:
        return _STATUS.get(status_code, "provider_down")
    return _STATUS.get(status_code)


_VAGUE: Final = ("network", "unhandled_exception")
"""What a class such as ConnectionError or TypeError tells; its message tells more."""

_DEFAULTS: Final = {"crash": "process_crash"}
