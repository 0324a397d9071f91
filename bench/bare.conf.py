"""The sidecar's own gunicorn settings around the bare application."""

from pathlib import Path

_OURS = Path(__file__).parent.parent / "gunicorn.conf.py"
__file__ = str(_OURS)
exec(compile(_OURS.read_text(), __file__, "exec"))

wsgi_app = "bench.bare:application"


def post_fork(server, worker):
    pass


def post_worker_init(worker):
    pass


def worker_exit(server, worker):
    pass
