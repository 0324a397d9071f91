"""The command `openclaw-trace`: one module per command. To add one, add a file and a line here.

A command module has a docstring whose first line is its help, `add_arguments(parser)` and
`run(args, settings, screen)`, which returns the exit code.
"""

import argparse
import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from config.settings import load
from tracer import __version__
from tracer.cli import check, push, report, reprice, run, status, tail
from tracer.cli.exits import EXIT_CODES, Exit, NothingThereError
from tracer.cli.screen import Screen, open_screen
from tracer.errors import SettingsError, TracerError

COMMANDS: Final = {
    "run": run,
    "check": check,
    "status": status,
    "report": report,
    "push": push,
    "reprice": reprice,
    "tail": tail,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, who wants the exit code only
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.ERROR, format="openclaw-trace: %(message)s")
    screen = open_screen(is_json=args.json)
    try:
        return int(COMMANDS[args.command].run(args, load(os.environ), screen))
    except SettingsError as error:
        return _fail(screen, error, Exit.USAGE)
    except NothingThereError as error:
        return _fail(screen, error, Exit.NOTHING_THERE)
    except (TracerError, sqlite3.Error, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.OK
        return _fail(screen, error, Exit.FAILED)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _fail(screen: Screen, error: Exception, code: Exit) -> Exit:
    screen.fail(str(error))
    return code


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code.value:>3}  {text}" for code, text in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="openclaw-trace",
        description="Observability sidecar for one AI agent on one small machine.",
        epilog=f"settings come from the environment (TRACE_DB_PATH, …)\n\nexit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        help_text, _, more = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(
            name,
            help=help_text,
            description=f"{help_text}\n{more}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="machine-readable output")
        module.add_arguments(command)
    return parser
