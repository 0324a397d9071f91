import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.classify import CATEGORIES, category

LLM, CRASH, SYSTEM = "llm_error", "crash", "system_error"

# Messages as providers and runtimes word them: type, status, exception, message, cause.
REAL = [
    # OpenAI
    (
        LLM,
        429,
        None,
        "Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s.",
        "rate_limit",
    ),
    (
        LLM,
        429,
        None,
        "You exceeded your current quota, please check your plan and billing details.",
        "rate_limit",
    ),
    (
        LLM,
        400,
        None,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 tokens. Please reduce the length of the messages.",
        "context_length",
    ),
    (
        LLM,
        400,
        "context_length_exceeded",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "context_length",
    ),
    (
        LLM,
        401,
        None,
        "Incorrect API key provided: sk-fak…mnop. You can find your API key at https://platform.openai.com/account/api-keys.",
        "auth",
    ),
    (
        LLM,
        500,
        None,
        "The server had an error while processing your request. Sorry about that!",
        "provider_down",
    ),
    (LLM, 503, None, "The engine is currently overloaded, please try again later", "provider_down"),
    (
        LLM,
        400,
        None,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "content_filter",
    ),
    (LLM, None, "APITimeoutError", "Request timed out.", "timeout"),
    (LLM, None, "APIConnectionError", "Connection error.", "network"),
    (
        LLM,
        400,
        None,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        "content_filter",
    ),
    # Anthropic
    (
        LLM,
        529,
        None,
        '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        "provider_down",
    ),
    (LLM, 400, None, "prompt is too long: 210000 tokens > 200000 maximum", "context_length"),
    (
        LLM,
        429,
        None,
        '{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization\'s rate limit of 40,000 input tokens per minute"}}',
        "rate_limit",
    ),
    (
        LLM,
        401,
        None,
        '{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}',
        "auth",
    ),
    (
        LLM,
        400,
        None,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        "rate_limit",
    ),
    (LLM, 400, None, "Output blocked by content filtering policy", "content_filter"),
    (
        LLM,
        413,
        None,
        '{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}',
        "context_length",
    ),
    (
        LLM,
        500,
        None,
        '{"type":"error","error":{"type":"api_error","message":"Internal server error"}}',
        "provider_down",
    ),
    (
        LLM,
        None,
        None,
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
        "context_length",
    ),
    # Google
    (LLM, 429, None, "Resource has been exhausted (e.g. check quota).", "rate_limit"),
    (LLM, 400, None, "API key not valid. Please pass a valid API key.", "auth"),
    (LLM, 503, None, "The model is overloaded. Please try again later.", "provider_down"),
    (LLM, 504, None, "Deadline expired before operation could complete.", "timeout"),
    (
        LLM,
        400,
        None,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "context_length",
    ),
    (LLM, None, None, "Candidate was blocked due to SAFETY", "content_filter"),
    (LLM, 403, None, "Permission denied: Consumer has been suspended.", "auth"),
    # Bedrock
    (
        LLM,
        None,
        "ThrottlingException",
        "Too many requests, please wait before trying again.",
        "rate_limit",
    ),
    (LLM, 400, "ValidationException", "Input is too long for requested model.", "context_length"),
    (
        LLM,
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
        "auth",
    ),
    (
        LLM,
        None,
        "ModelTimeoutException",
        "The request took too long to process. Processing time exceeded the model timeout length.",
        "timeout",
    ),
    (
        LLM,
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
        "auth",
    ),
    (
        LLM,
        503,
        "ServiceUnavailableException",
        "Bedrock is unable to process your request.",
        "provider_down",
    ),
    # OpenRouter
    (
        LLM,
        402,
        None,
        "This request requires more credits, or fewer max_tokens. You requested up to 32000 tokens, but can only afford 1000.",
        "rate_limit",
    ),
    (LLM, 502, None, "Provider returned error", "provider_down"),
    (LLM, 404, None, "No endpoints found for anthropic/claude-x.", "provider_down"),
    (LLM, 401, None, "User not found.", "auth"),
    (LLM, 401, None, "No auth credentials found", "auth"),
    # Ollama
    (
        LLM,
        500,
        None,
        "model requires more system memory (8.4 GiB) than is available (3.1 GiB)",
        "provider_down",
    ),
    (
        LLM,
        None,
        None,
        "model requires more system memory (8.4 GiB) than is available (3.1 GiB)",
        "out_of_memory",
    ),
    (LLM, None, None, "dial tcp 127.0.0.1:11434: connect: connection refused", "network"),
    # answers nobody can read
    (
        LLM,
        None,
        "JSONDecodeError",
        "Expecting value: line 1 column 1 (char 0)",
        "malformed_response",
    ),
    (
        LLM,
        None,
        "SyntaxError",
        "Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON",
        "malformed_response",
    ),
    (LLM, None, None, "Stream ended without content", "malformed_response"),
    # Node
    (LLM, None, "FetchError", "fetch failed", "network"),
    (LLM, None, None, "connect ECONNREFUSED 127.0.0.1:443", "network"),
    (LLM, None, "ECONNRESET", "socket hang up", "network"),
    (LLM, None, None, "getaddrinfo ENOTFOUND api.anthropic.com", "dns"),
    (SYSTEM, None, None, "Error: getaddrinfo EAI_AGAIN catalog.openclaw.ai", "dns"),
    (LLM, None, "UND_ERR_CONNECT_TIMEOUT", "Connect Timeout Error", "timeout"),
    (LLM, None, None, "unable to verify the first certificate", "network"),
    (
        CRASH,
        None,
        None,
        "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
        "out_of_memory",
    ),
    (
        CRASH,
        None,
        "TypeError",
        "Cannot read properties of undefined (reading 'content')",
        "unhandled_exception",
    ),
    (SYSTEM, None, None, "ENOSPC: no space left on device, write", "disk_full"),
    (
        SYSTEM,
        None,
        None,
        "EACCES: permission denied, open '/data/openclaw.json'",
        "permission_denied",
    ),
    (SYSTEM, None, None, "EROFS: read-only file system, mkdir '/data/x'", "permission_denied"),
    # Python
    (
        LLM,
        None,
        "ConnectionError",
        "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
        "network",
    ),
    (
        LLM,
        None,
        "ReadTimeout",
        "HTTPSConnectionPool(host='api.openai.com', port=443): Read timed out. (read timeout=60)",
        "timeout",
    ),
    (
        LLM,
        None,
        "ConnectionError",
        "Failed to resolve 'api.openai.com' ([Errno -2] Name or service not known)",
        "dns",
    ),
    (CRASH, None, "KeyError", "'choices'", "unhandled_exception"),
    (CRASH, None, "MemoryError", "", "out_of_memory"),
    (SYSTEM, None, "OperationalError", "database or disk is full", "disk_full"),
    (
        SYSTEM,
        None,
        "PermissionError",
        "[Errno 13] Permission denied: '/var/log/x'",
        "permission_denied",
    ),
    # the kernel and the host
    (CRASH, None, None, "Out of memory: Killed process 312 (node) — oom-kill", "oom_kill"),
    (CRASH, None, None, "the gateway exited with code 137", "oom_kill"),
    (CRASH, None, None, "gateway received SIGSEGV", "process_crash"),
    (CRASH, None, None, "gone", "process_crash"),
    # OpenClaw 2026.9.6
    (LLM, None, None, "500 internal explosion", "provider_down"),
    (
        LLM,
        None,
        None,
        "⚠️ labllm/fake-500 request failed (provider internal error, HTTP 500). This is usually temporary — try again shortly.",
        "provider_down",
    ),
    (LLM, None, None, "⚠️ Rate limit reached for fake-429; Retry-After: 1 seconds", "rate_limit"),
    (LLM, None, None, "server_error", "provider_down"),
    (
        LLM,
        None,
        "FailoverError",
        "429 Rate limit reached for fake-429; Retry-After: 1 seconds",
        "rate_limit",
    ),
    (LLM, None, None, "401 Incorrect API key provided: sk-fak…mnop", "auth"),
    (
        LLM,
        None,
        None,
        "Authentication failed (provider returned HTTP 401). Your provider token may have expired — try the request again in a moment.",
        "auth",
    ),
    # nothing known
    (LLM, None, None, "something odd", "other"),
    (SYSTEM, None, None, "", "other"),
]


@pytest.mark.parametrize(("error_type", "status", "exception", "message", "cause"), REAL)
def test_real_messages_get_their_cause(error_type, status, exception, message, cause):
    found = category(error_type, message, status_code=status, exception=exception)
    assert found == cause


def test_every_category_has_a_real_message():
    assert {cause for *_, cause in REAL} == set(CATEGORIES)


@given(st.text(), st.text(max_size=20) | st.none(), st.integers(0, 999) | st.none())
def test_any_error_has_one_of_the_categories(message, exception, status):
    assert category("llm_error", message, exception=exception, status_code=status) in CATEGORIES
