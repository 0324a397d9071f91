"""The screen of terminals, with `rich`: it knows NO_COLOR, `TERM=dumb` and narrow windows."""

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from rich import progress as bars
from rich.columns import Columns
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tracer.cli.screen import Progress, Table, fitted
from tracer.cli.units import clean

_BAR_CHARACTERS = frozenset("▏▎▍▌▋▊▉█#")


class RichScreen:
    """Texts are never read as markup: an agent's may hold brackets."""

    is_json = False

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # what the terminal lacks becomes `?`
                stream.reconfigure(errors="replace")
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._errors = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self.is_unicode = "utf" in self._console.encoding.lower()

    def say(self, text: str) -> None:
        self._console.print(Text(clean(text)))

    def fail(self, text: str) -> None:
        self._errors.print(Text(f"openclaw-trace: {clean(text)}", "red"))

    def data(self, value: Any) -> None:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")

    def tables(self, *tables: Table) -> None:
        width = self._console.width
        self._console.print(
            Columns([_rich(fitted(table, width), width) for table in tables], padding=(0, 2))
        )
        self._console.print()

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        with bars.Progress(
            bars.TextColumn("{task.description}", markup=False),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            console=self._errors,
            transient=True,
        ) as shown:
            task = shown.add_task(title, total=None)
            yield lambda done, whole: shown.update(task, completed=done, total=whole)


def _rich(table: Table, width: int) -> RichTable:
    drawn = RichTable(
        title=Text(table.title, "bold"),
        title_justify="left",
        title_style="",
        min_width=min(width, len(table.title)),
        box=None,
        show_header=bool(table.rows),
        header_style="dim",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for heading in table.headings:
        is_number = heading.startswith(">")
        drawn.add_column(
            Text(heading.removeprefix(">")), justify="right" if is_number else "left", no_wrap=True
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell, _style(cell)) for cell in row))
    if not table.rows:
        drawn.add_row(Text(table.empty))
    return drawn


def _style(cell: str) -> str:
    if cell and _BAR_CHARACTERS.issuperset(cell):
        return "cyan"
    return {"ok": "green", "failed": "red", "degraded": "red", "warning": "yellow"}.get(cell, "")
