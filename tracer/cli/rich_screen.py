"""The screen of terminals, with `rich`: it knows NO_COLOR, `TERM=dumb` and narrow windows."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from rich import box
from rich import progress as bars
from rich.columns import Columns
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tracer.cli.screen import Progress, Table
from tracer.cli.units import clean

_BAR_CHARACTERS = frozenset("▏▎▍▌▋▊▉█#")


class RichScreen:
    """Texts are never read as markup: an agent's may hold brackets."""

    is_json = False

    def __init__(self) -> None:
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
        self._console.print(Columns([_rich(table) for table in tables], padding=(0, 4)))
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


def _rich(table: Table) -> RichTable:
    rows = table.rows
    drawn = RichTable(
        title=Text(table.title, "bold"),
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD if rows else None,
        show_header=bool(rows),
        pad_edge=False,
        padding=(0, 1),
    )
    for place, heading in enumerate(table.headings):
        justify = "right" if heading.startswith(">") else "left"
        drawn.add_column(
            Text(heading.removeprefix(">")),
            justify=justify,  # type: ignore[arg-type]
            overflow="ellipsis",
            no_wrap=place > 0 or len(table.headings) > 1,
            min_width=None,
        )
    for row in rows or [[table.empty] + [""] * (len(table.headings) - 1)]:
        drawn.add_row(*(Text(clean(cell), _style(cell)) for cell in row))
    return drawn


def _style(cell: str) -> str:
    if cell and _BAR_CHARACTERS.issuperset(cell):
        return "cyan"
    return {"ok": "green", "failed": "red", "degraded": "red", "warning": "yellow"}.get(cell, "")
