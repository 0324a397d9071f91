import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import tracer
from tests.support.gunicorn import PROJECT
from tracer.cli import run
from tracer.cli.exits import NothingThereError

SETUPTOOLS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_in_the_project_it_is_the_file_there():
    assert run.configuration() == PROJECT / "gunicorn.conf.py"


def test_installed_it_is_among_the_files_of_the_package(tmp_path, monkeypatch):
    """As the wheel lays them out: modules in `site-packages`, data beside `bin`."""
    site = tmp_path / "lib" / "site-packages"
    for [folder, names] in SETUPTOOLS["data-files"].items():
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            (tmp_path / folder / name).write_text((PROJECT / name).read_text())
    found = tmp_path / "share" / "openclaw-trace" / "gunicorn.conf.py"
    listed = [
        SimpleNamespace(name=path.name, locate=lambda path=path: site / "../.." / path)
        for path in (Path("share/openclaw-trace/wsgi.py"), found.relative_to(tmp_path))
    ]
    site.mkdir(parents=True)
    monkeypatch.setattr(tracer, "__file__", str(site / "tracer" / "__init__.py"))
    monkeypatch.setattr(run.metadata, "files", lambda name: listed)
    assert run.configuration() == found
    assert found.with_name("wsgi.py").exists()
    monkeypatch.setattr(run.metadata, "files", lambda name: None)
    with pytest.raises(NothingThereError):
        run.configuration()


def test_every_package_is_in_the_wheel():
    folders = {
        str(path.parent.relative_to(PROJECT)).replace("/", ".")
        for room in ("tracer", "config")
        for path in (PROJECT / room).rglob("__init__.py")
    }
    assert set(SETUPTOOLS["packages"]) == folders
