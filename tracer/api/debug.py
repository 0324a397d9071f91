"""GET /debug/… : how the sidecar itself is doing, in the forms Go's tools know (section 5).

The names are those of Go's expvar and net/http/pprof, so that their readers find them.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import falcon

from tracer import heap as tracing
from tracer import pprof, threads
from tracer.heap import Heap, NotTracing
from tracer.profiler import Profiler, ProfilerBusy

LONGEST_S: Final = 60
DEFAULT_LIMIT: Final = 30
MAX_LIMIT: Final = 1000
DEFAULT_S: Final = 10
PROFILE_FORMS: Final = ("pprof", "folded")
HEAP_ACTIONS: Final = ("snapshot", "start", "stop")
HEAP_FORMS: Final = ("text", "json", "pprof")
BINARY: Final = "application/octet-stream"
TEXT: Final = "text/plain; charset=utf-8"

_INDEX: Final = """/debug/pprof/

profile?seconds=10                CPU of all threads, for `go tool pprof`; seconds is 1 to 60
profile?seconds=10&format=folded  the same as stacks for flame graphs, in nanoseconds
heap?action=start                 begin to trace allocations: costs memory and time until stopped
heap                              what is allocated, as text; also format=json, format=pprof
heap?action=stop                  end it
threads                           what each thread does at this moment
"""


def routes(
    variables: Callable[[], dict[str, Any]], profiler: Profiler, heap: Heap
) -> dict[str, object]:
    """Path → resource. None of them is for strangers."""
    return {
        "/debug/vars": Variables(variables),
        "/debug/pprof/": Index(),
        "/debug/pprof": Index(),
        "/debug/pprof/profile": CpuProfile(profiler),
        "/debug/pprof/heap": HeapProfile(heap),
        "/debug/pprof/threads": Threads(),
    }


class Variables:
    """Counters, settings without secrets, state of the interpreter."""

    def __init__(self, read: Callable[[], dict[str, Any]]) -> None:
        self._read = read

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        response.media = self._read()
        response.cache_control = ["no-store"]


class Index:
    """What there is."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        _answer(response, _INDEX)


class CpuProfile:
    """Keeps its request waiting while it records; a stop of the service ends it early."""

    def __init__(self, profiler: Profiler) -> None:
        self._profiler = profiler

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        _check_names(request, "seconds", "format", "debug")
        seconds = _number(request, "seconds", DEFAULT_S, 1, LONGEST_S)
        form = _word(request, "format", PROFILE_FORMS)
        try:
            profile = self._profiler.record(seconds)
        except ProfilerBusy as busy:
            raise falcon.HTTPConflict(description=str(busy)) from None
        if form == "folded":
            _answer(response, "".join(f"{line}\n" for line in pprof.folded(profile)))
        else:
            _answer_file(response, pprof.encode(profile), "profile.pb.gz")


class HeapProfile:
    """Starts, stops and shows the tracing of allocations."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap

    def on_get(self, request: falcon.Request, response: falcon.Response) -> None:
        _check_names(request, "action", "format", "frames", "limit", "debug")
        action = _word(request, "action", HEAP_ACTIONS)
        form = _word(request, "format", HEAP_FORMS)
        depth = _number(request, "frames", 1, 1, tracing.MAX_DEPTH)
        limit = _number(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
        if action == "start":
            started = "started" if self._heap.start(depth) else "was tracing already"
            _answer(response, f"{started}: {tracing.COST}; stop it with ?action=stop\n")
        elif action == "stop":
            stopped = self._heap.stop()
            _answer(response, "stopped\n" if stopped else "was not tracing\n")
        else:
            self._snapshot(response, form, limit)

    def _snapshot(self, response: falcon.Response, form: str, limit: int) -> None:
        try:
            profile, sums = self._heap.snapshot()
        except NotTracing as problem:
            raise falcon.HTTPConflict(description=str(problem)) from None
        if form == "pprof":
            _answer_file(response, pprof.encode(profile), "heap.pb.gz")
            return
        top = [
            (
                sample.values[0],
                sample.values[1],
                [f"{place.file}:{place.line}" for place in sample.stack],
            )
            for sample in islice(profile.samples, limit)
        ]
        if form == "json":
            response.media = {
                **sums,
                "top": [{"count": n, "bytes": size, "stack": stack} for n, size, stack in top],
            }
        else:
            lines = [f"{name}: {value}" for name, value in sums.items()]
            lines += [f"{size:>12} {n:>8}  {' < '.join(stack)}" for n, size, stack in top]
            _answer(response, "\n".join(lines) + "\n")


class Threads:
    """Stacks, without values."""

    def on_get(self, _request: falcon.Request, response: falcon.Response) -> None:
        _answer(response, "\n".join(threads.stacks()))


def _answer(response: falcon.Response, text: str) -> None:
    response.content_type = TEXT
    response.text = text
    response.cache_control = ["no-store"]


def _answer_file(response: falcon.Response, data: bytes, name: str) -> None:
    response.content_type = BINARY
    response.downloadable_as = name
    response.data = data
    response.cache_control = ["no-store"]


def _check_names(request: falcon.Request, *known: str) -> None:
    """A parameter that is misspelled would be without effect."""
    for name in request.params:
        if name not in known:
            raise falcon.HTTPBadRequest(description=f"{name[:80]} is not one of {', '.join(known)}")


def _word(request: falcon.Request, name: str, words: tuple[str, ...]) -> str:
    """One of a few words, the first by default."""
    value = request.get_param(name) or words[0]
    if value not in words:
        raise falcon.HTTPBadRequest(description=f"{name} is one of {', '.join(words)}")
    return value


def _number(request: falcon.Request, name: str, default: int, least: int, most: int) -> int:
    text = request.get_param(name) or str(default)
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else -1
    if not least <= number <= most:
        raise falcon.HTTPBadRequest(description=f"{name} is a whole number from {least} to {most}")
    return number
