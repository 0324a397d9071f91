"""What secrets look like, for `redact`. To know one more, add a line.

Each pattern begins with a literal or a few letters, and what follows is bounded or possessive, so
that looking takes linear time. No pattern takes a quote, or a backslash of JSON's.
"""

import re
from typing import Final

_BY_PREFIX: Final = (
    ("anthropic_key", r"[\w-]{8,}+", ("sk-ant-",)),
    ("openrouter_key", r"[\w-]{8,}+", ("sk-or-",)),
    ("openai_key", r"(?=[\w-]{0,200}\d)[\w-]{16,}+", ("sk-",)),
    ("google_key", r"[\w.-]{16,}+", ("AIza", "ya29.", "GOCSPX-")),
    ("aws_key", r"[A-Z0-9]{12,}+", ("AKIA", "ASIA")),
    ("aws_key", r"[\w+/=-]{24,}+", ("ABSK", "bedrock-api-key-")),
    ("github_token", r"\w{16,}+", ("gho_", "ghp_", "ghu_", "ghs_", "ghr_", "github_pat_")),
    ("gitlab_token", r"[\w-]{16,}+", ("glpat-",)),
    ("slack_token", r"[a-z]-[\w-]{8,}+", ("xox",)),
    ("slack_token", r"[\w-]{16,}+", ("xapp-",)),
    ("fly_token", r"[a-z]?_[\w+/=,-]{16,}+", ("fo1", "fm1", "fm2")),
    ("groq_key", r"\w{16,}+", ("gsk_",)),
    ("xai_key", r"[\w-]{16,}+", ("xai-",)),
    ("perplexity_key", r"\w{16,}+", ("pplx-",)),
    ("nvidia_key", r"[\w-]{16,}+", ("nvapi-",)),
    ("cerebras_key", r"\w{16,}+", ("csk-",)),
    ("fireworks_key", r"\w{16,}+", ("fw_",)),
    ("together_key", r"[\w-]{16,}+", ("tgp_v1_",)),
    ("replicate_token", r"\w{16,}+", ("r8_",)),
    ("tavily_key", r"[\w-]{16,}+", ("tvly-",)),
    ("huggingface_token", r"[A-Za-z0-9]{16,}+", ("hf_",)),
    ("stripe_key", r"\w{16,}+", ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_")),
    ("sendgrid_key", r"[\w-]{16,}+\.[\w-]{16,}+", ("SG.",)),
    ("npm_token", r"[A-Za-z0-9]{20,}+", ("npm_",)),
    ("telegram_token", r"(?<=\d{8}:AA)[\w-]{30,}+", (":AA",)),
    ("jwt", r"[\w-]{4,}+\.[\w-]{8,}+(?:\.[\w-]*+)?", ("eyJ",)),
)
"""Secrets that tell themselves by how they begin: kind, what follows, beginnings."""


def _pattern(literal: str, rest: str) -> re.Pattern[str]:
    """The literal where a word begins, which may be right after an escape of JSON or of a URL."""
    quoted = re.escape(literal)
    places = (rf"(?<![\w-]{quoted})", rf"(?<=\\[nrtbf]{quoted})", rf"(?<=%[0-9A-F]{{2}}{quoted})")
    at_begin = "" if literal[0] == ":" else f"(?:{'|'.join(places)})"
    return re.compile(quoted + at_begin + rest, re.A)


PREFIXED: Final = tuple(
    (literal, _pattern(literal, rest), f"{':' * (literal[0] == ':')}[REDACTED:{kind}]")
    for kind, rest, literals in _BY_PREFIX
    for literal in literals
)

PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{1,40}-----"
    r"(?:[A-Za-z0-9+/=\s:,.|>\u2192]++|\\+(?:[nrt]|u2192)|-(?!----))*+"
    r"(?:-----END [A-Z0-9 ]{1,40}-----)?"
)

KEY = re.compile(
    r"(?:api[_-]?key|authorization|cookies?|passw(?:or)?d|passphrase|pwd|secret|credentials?|"
    r"(?:private|access|secret)[_-]?key|token)"
    r"((?:\\(?:\\{2}(?:\\{4}(?:\\{8})?)?)?)?\"|\\*+')\s{0,8}+:\s{0,8}+(\"[^\"\\]*+\"(?=\s*+[,}\]]))?"
)
"""The end of a quoted name that names a secret, such as `OPENAI_API_KEY` or `slackBotToken`, and a
plain string beside it. In JSON within a string of JSON the quote has backslashes before it, 1, 3, 7
or 15: other numbers are a name that ends in a backslash.
"""

_OPENING = r"(?:\\{0,8}+[\"'](?![\s,:}\]]))?+"
"""A quote that may open the value; one that ends a string of JSON is followed by other things."""

IN_CONTEXT: Final = (
    # literals of which one must be there, kind, pattern with the secret as its last group
    (
        ("cookie", "authorization", "api-key", "auth-token", "security-token"),
        "header",
        re.compile(
            r"(?:cookie|authorization|api-key|auth-token|security-token)\s{0,4}+[:=]\s{0,4}+"
            rf"{_OPENING}(?!\[redacted)([^\s\"'\\][^\r\n\"'\\]*+)"
        ),
    ),
    (
        # as in source code and in what Node prints of an object
        tuple(sign + quote for sign in (":", ": ", "=", "= ") for quote in "'\"\\"),
        "value",
        re.compile(
            r"(?:api_?key|(?:access|private|secret|account)_?key|passw(?:or)?d|passphrase|secret|"
            r"token)\s{0,4}+[:=]\s{0,4}+\\{0,8}+[\"'](?![\s,:}\]]|\[redacted)([^\r\n\"'\\]{4,}+)"
        ),
    ),
    (
        ("bearer", "basic"),
        "credential",
        re.compile(
            r"(?:bearer|basic)[ \t]{1,8}+(?=[\w.~+/=-]{0,400}(?:\d|=(?!\w)))([\w.~+/=-]{8,}+)", re.A
        ),
    ),
    (
        ("@",),
        "password",
        re.compile(r"://[^/\s:@\"'\\?#]{0,256}+:([^/\s\"'\\]{1,256})(?=@)"),
    ),
    (
        ("token=", "key=", "secret=", "passw", "sig", "credential=", "code=", "auth="),
        "parameter",
        re.compile(
            r"(?:[?&#]|&amp;|\\u0026)(?:[\w-]{0,40}?"
            r"(?:token|key|secret|password|passwd|sig|signature|credential)|code|auth)=(?!\[redacted)([^&\s\"'\\#]{4,}+)",
            re.A,
        ),
    ),
)
"""Secrets told by what is before them, in small letters."""

VARIABLE = re.compile(
    r"((?:API_KEY|SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE_KEY|ACCESS_KEY)=)(?!\[REDACTED)"
    r"[^\s\"'\\&;,]{4,}+"
)
