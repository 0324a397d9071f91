"""How long redaction takes per megabyte, for texts made to take long."""

import time

from tracer import redact, secret_patterns

SIZE = 1_000_000

UNITS = {
    "prose": "The agent read the file and wrote a summary of task 42. ",
    "all beginnings": " ".join(literal for literal, _, _ in secret_patterns.PREFIXED) + " ",
    "beginnings without an end": " eyJ" + "a" * 2000,
    "boundaries": "eyJaaaaaa.",
    "sk-": "sk-",
    "PEM without an end": "-----BEGIN A-----\n-",
    "URLs": "://a:" + "b" * 250,
    "at signs": "://a:" + "@" * 300,
    "bearer": "bearer " + "a" * 300 + " ",
    "headers": "cookie  ",
    "header lines": "Authorization: x\n",
    "parameters": "?" + "a" * 40,
    "parameter names": "&keykey",
    "variables": "_API_KEY=",
    "values": "token='",
    "values in code": 'x.secret_key = "ab"; ',
    "named": '"password":',
    "named and cut": '"password":"',
    "named objects": '"password":{',
    "named arrays": '"token":[',
    "named, nested": '"password\\\\":',
    "brackets": '{"password":[[[[[[',
    "escapes": "\\u0070",
    "backslashes": '"password":"' + "\\" * 50,
    "names": "password",
    "tokens": "token",
}


def seconds_per_mb(unit, rounds=3):
    """The best of some rounds: the machine may be busy otherwise."""
    text = (unit * (SIZE // len(unit) + 1))[:SIZE]
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        redact.is_suspect(text.encode())
        redact.json_text(text)
        best = min(best, time.process_time() - started)
    return best


def worst():
    """The unit that takes longest, its seconds per megabyte, and those of prose."""
    found = {name: seconds_per_mb(unit) for name, unit in UNITS.items()}
    name = max(found, key=found.get)
    return name, found[name], found["prose"]
