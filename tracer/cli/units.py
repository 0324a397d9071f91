"""Sizes, times and amounts as people read them. Pure."""

from datetime import UTC, datetime
from typing import Final

NONE: Final = "-"
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"


def _three(number: float) -> str:
    """Three digits, more where there are more before the point."""
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:,.0f}"


def size(count_bytes: float | None) -> str:
    """In powers of 1024, as the settings are."""
    if count_bytes is None:
        return NONE
    for unit in ("B", "KB", "MB"):
        if abs(count_bytes) < 1024:
            return f"{_three(count_bytes)} {unit}" if unit != "B" else f"{count_bytes:.0f} B"
        count_bytes /= 1024
    return f"{_three(count_bytes)} GB"


def count(number: float | None) -> str:
    """`1,234`, `56.7k`, `8.9M`."""
    if number is None:
        return NONE
    if number < 10_000:
        return f"{number:,.0f}"
    for unit in ("k", "M"):
        number /= 1000
        if number < 999.5:
            return f"{_three(number)}{unit}"
    return f"{_three(number / 1000)}G"


def usd(amount: float | None) -> str:
    """Cents where they matter, more digits where they are all there is."""
    if amount is None:
        return NONE
    if amount and amount < 1:
        return f"${amount:.4f}" if amount >= 0.0001 else "<$0.0001"
    return f"${amount:,.2f}"


def percent(value: float | None) -> str:
    """A share of 0..100."""
    return NONE if value is None else f"{_three(value)} %"


def duration(milliseconds: float | None) -> str:
    """Two units at most."""
    if milliseconds is None:
        return NONE
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 99.5:
        return f"{seconds:.3g} s"
    for unit, smaller, ratio, length in (("m", "s", 60, 60), ("h", "m", 3600, 60)):
        if seconds < ratio * (60 if unit == "m" else 24):
            whole, rest = divmod(round(seconds / (ratio / length)), length)
            return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


MINUTES: Final = "%Y-%m-%d %H:%M"
SECONDS: Final = "%Y-%m-%d %H:%M:%S"
THIS_YEAR: Final = "%m-%d %H:%M"


def moment(at_ms: int | None, form: str = MINUTES) -> str:
    """UTC, like the days of the statistics."""
    if at_ms is None:
        return NONE
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)


def ago(at_ms: int | None, now_ms: int) -> str:
    """How long ago, `never` without a time."""
    return "never" if at_ms is None else f"{duration(max(0, now_ms - at_ms))} ago"


def bar(value: float | None, largest: float, width: int, *, is_unicode: bool) -> str:
    """`width` characters for the largest value; something for whatever is above 0."""
    if not value or largest <= 0:
        return ""
    if not is_unicode:
        return "#" * max(1, round(width * value / largest))
    eighths = max(1, round(8 * width * value / largest))
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def clean(text: str) -> str:
    """One line without control characters: what an agent wrote must not steer the terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def cut(text: str, width: int) -> str:
    """At most `width` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
