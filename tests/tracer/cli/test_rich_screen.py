import io

from rich.console import Console

from tracer.cli.rich_screen import _rich
from tracer.cli.screen import Table


def test_a_title_is_one_line_however_narrow_its_table():
    written = io.StringIO()
    table = Table("Dearest sessions (5 of 7)", ("session", ">calls"), [("s0", "448")])
    Console(file=written, width=80).print(_rich(table, 80))
    assert written.getvalue().splitlines()[0].rstrip() == table.title
