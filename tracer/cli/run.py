"""runs the sidecar: gunicorn with our configuration

The process becomes gunicorn: signals, exit code and log are its own. The log is JSON lines
whenever standard error is no terminal.
"""

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Final, NoReturn

import tracer
from config.settings import Settings
from tracer.cli.exits import NothingThereError
from tracer.cli.screen import Screen

CONFIGURATION: Final = "gunicorn.conf.py"


def add_arguments(_: argparse.ArgumentParser) -> None:
    """None: everything is a setting."""


def run(_args: argparse.Namespace, _settings: Settings, _screen: Screen) -> NoReturn:
    """Does not return. The settings were readable; gunicorn reads them again."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration())]
    os.execv(sys.executable, command)  # noqa: S606


def configuration() -> Path:
    """The file in the project's folder, or where an installed package has it.

    Raises NothingThereError when there is none.
    """
    beside = Path(tracer.__file__).parent.parent / CONFIGURATION
    if beside.exists():
        return beside
    for file in metadata.files("openclaw-trace") or ():
        if file.name == CONFIGURATION and (found := Path(str(file.locate())).resolve()).exists():
            return found
    raise NothingThereError(f"{CONFIGURATION} is neither at {beside} nor among the installed files")
