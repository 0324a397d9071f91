"""Made-up secrets of every kind we know, spelled as the real ones are."""

SECRETS = {
    "anthropic_key": "sk-ant-api03-Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mN-AA",
    "openai_key": "sk-proj-Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mN",
    "openai_key (older)": "sk-Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mNoPqRsTuVw",
    "openrouter_key": "sk-or-v1-0123456789abcdef0123456789abcdef",
    "google_key": "AIzaSyZq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mNo",
    "aws_key": "AKIAZQ8VT1XXYLW0AB4C",
    "github_token": "ghp_Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mNoPqR",
    "github_token (fine)": "github_pat_11AAAAAAA0Zq8vT1xXyLw0aB4cD6eF8gH0iJ",
    "slack_token": "xoxb-123456789012-1234567890123-Zq8vT1xXyLw0aB4cD6eF8gH0",
    "fly_token": "fo1_Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mN",
    "fly_token (macaroon)": "fm2_lJPECAAAAAAAAAxXyLw0aB4cD6eF8gH0iJ2kL4mN+/=,fm2_abc",
    "groq_key": "gsk_Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mN",
    "xai_key": "xai-Zq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mN",
    "huggingface_token": "hf_ZqvTxXyLwaBcDeFgHiJkLmNoPqRsTuVwX",
    "stripe_key": "sk_live_Zq8vT1xXyLw0aB4cD6eF8gH0",
    "telegram_token": "1234567890:AAZq8vT1xXyLw0aB4cD6eF8gH0iJ2kL4mNo",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.Zq8vT1xXyLw0aB4cD6eF8gH0",
    "credential": "Bearer Zq8vT1xXyLw0aB4cD6eF8gH0iJ",
    "credential (basic)": "Basic dXNlcjpaeXh3dnV0c3JxMTIzNDU=",
    "header": "Cookie: sid=Zq8vT1xXyLw0; theme=dark",
    "header (auth)": "authorization: Digest Zq8vT1xXyLw0aB4",
    "password": "postgres://app:Zq8vT1xXyLw0@db.internal/prod",
    "parameter": "https://api.example.com/v1?access_token=Zq8vT1xXyLw0aB4&x=1",
    "variable": "DB_PASSWORD=Zq8vT1xXyLw0aB4",
    "pem": "-----BEGIN PRIVATE KEY-----\nMIIZq8vT1xXyLw0aB4cD6eF8\nZq8vT1xXyLw0\n-----END PRIVATE KEY-----",
}

MARKS = (
    "q8vT1xXyLw0",
    "Q8VT1XXYLW0",
    "0123456789abcdef0123",
    "ZqvTxXyLwaBcDe",
    "lJPECAAAAAAAAAxX",
    "dXNlcjpaeXh3",
)
"""One of these is in every secret: what must not be found afterwards."""
