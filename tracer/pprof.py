"""Profiles in pprof's format: a gzipped protobuf message (google/pprof, proto/profile.proto).

Pure.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tracer.protobuf import field, packed


class Place(NamedTuple):
    """A line of a function."""

    function: str
    file: str
    line: int
    first_line: int = 0
    """Where the function begins."""


class Sample(NamedTuple):
    """`stack`: innermost first. `values`: one for each unit of the profile."""

    stack: Sequence[Place]
    values: Sequence[int]
    labels: Mapping[str, str] = {}


class Profile(NamedTuple):
    """`units`: what the values are, such as `("cpu", "nanoseconds")`; the last counts the most."""

    units: Sequence[tuple[str, str]]
    samples: Sequence[Sample]
    began_at_ns: int = 0
    """By the wall clock, since the epoch."""
    duration_ns: int = 0
    period: int = 0
    """In the last unit."""


def encode(profile: Profile) -> bytes:
    """The file that `go tool pprof` and other readers open."""
    return gzip.compress(b"".join(_Encoder().message(profile)), mtime=0)


def folded(profile: Profile) -> Iterator[str]:
    """A line for each stack, outermost first, and its last value: what flame graphs are made of."""
    for sample in profile.samples:
        names = [*sample.labels.values(), *(_folded_name(p) for p in reversed(sample.stack))]
        yield f"{';'.join(_plain(name) for name in names)} {sample.values[-1]}"


def _folded_name(place: Place) -> str:
    return f"{place.function} ({'/'.join(place.file.split('/')[-2:])}:{place.line})"


def _plain(text: str) -> str:
    return text.translate({ord(";"): ",", ord("\n"): " "})


class _Encoder:
    """Gives numbers to strings, functions and places as they come up."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str, int], int] = {}
        self._places: dict[Place, int] = {}

    def message(self, profile: Profile) -> Iterator[bytes]:
        """The fields of Profile; the tables come last, when they are complete."""
        for unit in profile.units:
            yield field(1, self._unit(unit))
        for sample in profile.samples:
            yield field(2, self._sample(sample))
        for place, number in self._places.items():
            function = self._functions.setdefault(
                (place.function, place.file, place.first_line), len(self._functions) + 1
            )
            line = field(1, function) + field(2, place.line)
            yield field(4, field(1, number) + field(4, line))
        for (name, file, first_line), number in self._functions.items():
            fields = (number, self._string(name), self._string(name), self._string(file))
            text = b"".join(field(n, value) for n, value in enumerate(fields, 1))
            yield field(5, text + field(5, first_line))
        yield field(9, profile.began_at_ns) + field(10, profile.duration_ns)
        yield field(11, self._unit(profile.units[-1])) + field(12, profile.period)
        for string in self._strings:
            yield field(6, string.encode(errors="replace"))

    def _unit(self, unit: tuple[str, str]) -> bytes:
        return field(1, self._string(unit[0])) + field(2, self._string(unit[1]))

    def _sample(self, sample: Sample) -> bytes:
        places = (self._places.setdefault(p, len(self._places) + 1) for p in sample.stack)
        labels = (
            field(3, field(1, self._string(key)) + field(2, self._string(value)))
            for key, value in sample.labels.items()
        )
        return packed(1, places) + packed(2, sample.values) + b"".join(labels)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))
