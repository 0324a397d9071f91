"""How gunicorn runs the service: one worker, signals that lose nothing, start and stop.

Read by gunicorn in the master. The reasons are measurements with gunicorn 27.0; a test for each
signal and for a killed worker says whether they still hold.
"""

import contextlib
import gc
import logging
import math
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from gunicorn import glogging

sys.path.insert(0, str(Path(__file__).parent))  # `gunicorn` alone does not

from config import logs
from config.settings import current, secret_environ
from tracer import allocator

settings = current()


class Logger(glogging.Logger):
    """gunicorn's own lines in our format. A `logconfig_dict` would cost 27 µs per request."""

    def setup(self, cfg):
        logs.configure(settings.log_level, is_redacting=settings.redact)
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter(is_redacting=settings.redact))

    def warning(self, msg, *args, **kwargs):
        if not msg.startswith("Invalid request"):  # one for each, quoting what may be a secret
            super().warning(msg, *args, **kwargs)

    def exception(self, msg, *args, **kwargs):
        if not msg.startswith("Socket error"):  # one for each client that stalls
            super().exception(msg, *args, **kwargs)


def _has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


wsgi_app = "wsgi:application"
bind = [
    str(address)
    for address in settings.bind
    if "TRACE_BIND" in os.environ or address.host != "::1" or _has_ipv6_loopback()
]
chdir = str(Path(__file__).parent)

worker_class = WORKER_CLASS = "tracer.http_worker.HttpWorker"
workers = 1
threads = 8  # cost no memory, and keep answering while some wait for slow clients
worker_connections = 512  # then idle ones make room; file descriptors are often limited to 1024
preload_app = True  # nothing is started by the import; master and worker share 3 MB of pages
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
http_parser = "python"
control_socket_disable = True  # else a socket under the home folder, and a thread in the master

logger_class = Logger
loglevel = settings.log_level
accesslog = None

keepalive = 15  # longer than agents keep idle connections, so that they, not we, close them
backlog = 256
timeout = 30  # a frozen worker, not a slow request

# The worker first lets requests finish, then drains, pushes and closes, all before the deadline of
# TRACE_SHUTDOWN_TIMEOUT. The master kills it only if that hangs.
graceful_timeout = math.ceil(settings.shutdown_timeout) + 1
REQUESTS_SHARE = 0.5
RECEIVE_TIMEOUT_S = 5
EXIT_MARGIN_S = 0.2
RETRY_BIND_S = 2

_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
_stop_requested_at = None


def on_starting(server):
    """Refuses what would break the promises of the contract, in one sentence."""
    if server.cfg.workers != 1:
        sys.exit(
            f"openclaw-trace: runs with one worker only, {server.cfg.workers} were asked for: "
            "remove --workers from the command line or GUNICORN_CMD_ARGS"
        )
    if (asked_for := server.cfg.settings["worker_class"].get()) != WORKER_CLASS:
        sys.exit(f"openclaw-trace: needs its own worker class, not {asked_for}: remove -k")
    if "GUNICORN_FD" not in os.environ and "LISTEN_FDS" not in os.environ:  # sockets to inherit
        _wait_until_free(server)


def _wait_until_free(server):
    """Blocks while an address is taken. gunicorn would give up and exit, and a runner of a Procfile
    then stops the agent as well.
    """
    for signum in _STOP_SIGNALS:
        signal.signal(signum, lambda *_: sys.exit(0))
    known = None
    while (problem := _first_problem(server.cfg.address)) is not None:
        if problem != known:
            server.log.error("cannot listen on %s, trying again every %s s", problem, RETRY_BIND_S)
        known = problem
        time.sleep(RETRY_BIND_S)


def _first_problem(addresses):
    with contextlib.ExitStack() as probes:  # held together: two addresses may clash
        for host, port in (address for address in addresses if isinstance(address, tuple)):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            probe = probes.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                return f"{host} port {port} ({error.strerror})"
    return None


def nworkers_changed(server, new_value, old_value):
    """One stays one, also after SIGTTIN."""
    if old_value is not None:
        server._num_workers = 1


def pre_exec(server):
    """SIGUSR2: the process that takes over reads the secrets anew."""
    server.cfg.env_orig.update(secret_environ)


def when_ready(server):
    """Runs in the master before the first fork."""
    for listener in server.LISTENERS:
        # Accepted sockets inherit these: a client that stalls loses its connection, not our thread.
        wait = struct.pack("ll", RECEIVE_TIMEOUT_S, 0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
    gc.collect()
    gc.freeze()  # pages the worker need not copy


def post_fork(server, worker):
    """Runs in the new worker, within milliseconds; an exception here would end the service."""
    # A stop that comes before the handlers are in place must wait for them, not get lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    os.umask(0o077)
    allocator.keep_small()
    # Each event is a few containers that live for milliseconds: the default of 700 would have the
    # collector look at them over and over.
    gc.set_threshold(20_000)
    worker.cfg.set("graceful_timeout", int(settings.shutdown_timeout * REQUESTS_SHARE))
    try:
        from wsgi import service

        service.start()
    except Exception:
        server.log.exception("the service did not start")


def post_worker_init(worker):
    """Gunicorn's handlers are in place. Its quick stop would answer 202 after the last drain."""
    from wsgi import service

    def handle_stop(signum, frame):
        global _stop_requested_at
        _stop_requested_at = _stop_requested_at or time.monotonic()
        service.profiler.end()  # a request that records one would use up the time to stop
        worker.handle_exit(signum, frame)

    def handle_push(signum, frame):
        worker.handle_usr1(signum, frame)  # gunicorn's own: opens log files anew
        service.push_now()

    signal.signal(signal.SIGUSR1, handle_push)
    signal.signal(signal.SIGTERM, handle_stop)
    signal.signal(signal.SIGQUIT, handle_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.siginterrupt(signal.SIGTERM, False)
    signal.siginterrupt(signal.SIGQUIT, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)


def worker_exit(server, worker):
    """The final drain and push, in the worker; gunicorn may also call this in the master."""
    if os.getpid() != worker.pid:
        return
    for impatient in (*_STOP_SIGNALS, signal.SIGABRT, signal.SIGUSR1):
        signal.signal(impatient, signal.SIG_IGN)
    from wsgi import service

    began = _stop_requested_at or time.monotonic()
    by = began + settings.shutdown_timeout - EXIT_MARGIN_S
    service.stop(by, is_replaced=_has_successor())
    if _stop_requested_at is not None:
        # Whoever could be answered was. Python would now wait for threads that still read from
        # stalled clients, until the master kills.
        logging.shutdown()
        os._exit(0)


def _has_successor():
    """Whether the master has another child: a reload started one, which waits for our lock."""
    master = os.getppid()
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return any(int(pid) != os.getpid() for pid in children)
