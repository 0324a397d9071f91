import pytest

from tests.support.gunicorn import PROJECT


@pytest.fixture(params=["preload", "no-preload"])
def conf(request, tmp_path):
    """The project's configuration with and without preload_app."""
    if request.param == "preload":
        return "gunicorn.conf.py"
    path = tmp_path / "no_preload.conf.py"
    source = PROJECT / "gunicorn.conf.py"
    path.write_text(
        f"__file__ = {str(source)!r}\n"
        "exec(compile(open(__file__).read(), __file__, 'exec'))\n"
        "preload_app = False\n"
    )
    return str(path)
