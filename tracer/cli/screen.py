"""Where commands write: tables, lines and progress for people, one JSON object for programs.

Plain text, and with `rich` on a terminal (`rich_screen.py`) the same with colours.
"""

import contextlib
import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from tracer.cli.units import clean, count, cut

PIPE_WIDTH: Final = 100
NARROWEST_NAME: Final = 10
GAP: Final = "  "
GUTTER: Final = "    "
REPORT_PROGRESS_S: Final = 10.0
REDRAW_S: Final = 0.2

Progress = Callable[[int, int], None]
"""Called with what is done and the whole, as often as the work likes."""


class Table(NamedTuple):
    """Headings that begin with `>` are for columns of numbers, set flush right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str = "none"


class Screen(Protocol):
    """What commands know of it. Texts may hold anything; a screen makes them harmless."""

    is_json: bool
    is_unicode: bool

    def say(self, text: str) -> None:
        """One line."""

    def fail(self, text: str) -> None:
        """Why the command ends."""

    def tables(self, *tables: Table) -> None:
        """Beside each other where there is room."""

    def data(self, value: Any) -> None:
        """The answer as one line of JSON."""

    def progress(self, title: str) -> contextlib.AbstractContextManager[Progress]:
        """Shows on standard error how far the work inside is."""


class PlainScreen:
    """Text without colours, for pipes and for terminals without `rich`."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.is_unicode = "utf" in (sys.stdout.encoding or "").lower()
        is_terminal = sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns if is_terminal else PIPE_WIDTH

    def say(self, text: str) -> None:
        self._write(clean(text))

    def fail(self, text: str) -> None:
        if self.is_json:
            self.data({"error": text})
        sys.stderr.write(f"openclaw-trace: {_spelled(clean(text), sys.stderr)}\n")

    def data(self, value: Any) -> None:
        self._write(msgspec.json.encode(value).decode())

    def tables(self, *tables: Table) -> None:
        blocks = [_lines(table, self._width) for table in tables]
        widths = [max(map(len, block)) for block in blocks]
        if sum(widths) + len(GUTTER) * (len(blocks) - 1) > self._width:
            for block in blocks:
                self._write("\n".join([*block, ""]))
            return
        for row in itertools.zip_longest(*blocks, fillvalue=""):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self._write(GUTTER.join(cells).rstrip())
        self._write("")

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        is_terminal = sys.stderr.isatty()
        shown_at = time.monotonic() - (REDRAW_S if is_terminal else 0)
        is_shown = False

        def show(done: int, whole: int) -> None:
            nonlocal shown_at, is_shown
            now = time.monotonic()
            if now - shown_at < (REDRAW_S if is_terminal else REPORT_PROGRESS_S):
                return
            shown_at, is_shown = now, True
            share = f" ({100 * done // whole} %)" if whole else ""
            line = f"{title}: {count(done)} of {count(whole)}{share}"
            sys.stderr.write(f"\r{line:<60}" if is_terminal else f"{line}\n")
            sys.stderr.flush()

        try:
            yield show
        finally:
            if is_shown and is_terminal:
                sys.stderr.write("\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(_spelled(text, sys.stdout) + "\n")
        sys.stdout.flush()


def open_screen(*, is_json: bool) -> Screen:
    """With colours on a terminal that has `rich` (the extra `cli`), else plain."""
    if sys.stdout.isatty() and not is_json:
        with contextlib.suppress(ImportError):
            from tracer.cli.rich_screen import RichScreen

            return RichScreen()
    return PlainScreen(is_json=is_json)


def _spelled(text: str, stream: Any) -> str:
    """With `?` for what the encoding of the terminal lacks: it must not end the command."""
    encoding = stream.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def fitted(table: Table, width: int) -> Table:
    """The table as it can be shown, harmless: where it is too wide, bars (columns without heading)
    go first, then the first column gives way. Numbers are never cut.
    """
    grid = [[heading.removeprefix(">") for heading in table.headings]]
    grid += [[clean(cell) for cell in row] for row in table.rows]
    headings = list(table.headings)
    if _width(grid) > width and "" in headings[1:]:
        kept = [place == 0 or heading != "" for place, heading in enumerate(headings)]
        grid = [list(itertools.compress(row, kept)) for row in grid]
        headings = list(itertools.compress(headings, kept))
    first = max(len(row[0]) for row in grid)
    first = max(min(first, NARROWEST_NAME), first - max(0, _width(grid) - width))
    rows = [[cut(row[0], first), *row[1:]] for row in grid[1:]]
    return table._replace(title=clean(table.title), headings=headings, rows=rows)


def _width(grid: Sequence[Sequence[str]]) -> int:
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return sum(widths) + len(GAP) * len(widths)


def _lines(table: Table, width: int) -> list[str]:
    """The title, the headings and the rows."""
    table = fitted(table, width)
    if not table.rows:
        return [table.title, f"{GAP}{table.empty}"]
    is_number = [heading.startswith(">") for heading in table.headings]
    grid = [[heading.removeprefix(">") for heading in table.headings], *table.rows]
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    lines = [table.title]
    for row in grid:
        cells = [
            cell.rjust(size) if flush else cell.ljust(size)
            for cell, size, flush in zip(row, widths, is_number, strict=True)
        ]
        lines.append(GAP + GAP.join(cells).rstrip())
    return lines
