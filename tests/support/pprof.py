"""Reads pprof files by the description of protobuf's wire format, independent of what writes them."""

import gzip
from collections import defaultdict


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def message(data):
    """Field number → its values: numbers or bytes."""
    fields, at = defaultdict(list), 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        else:
            assert key & 7 == 0
        fields[key >> 3].append(value)
    assert at == len(data)
    return fields


def _numbers(packed):
    at, numbers = 0, []
    while at < len(packed):
        number, at = _varint(packed, at)
        numbers.append(number)
    return numbers


class Decoded:
    """What a reader of pprof sees: units, and samples as (stack, values, labels)."""

    def __init__(self, file):
        profile = message(gzip.decompress(file))
        strings = [text.decode() for text in profile[6]]
        assert strings[0] == ""

        def text(fields, number):
            return strings[fields[number][0]]

        def unit(data):
            fields = message(data)
            return text(fields, 1), text(fields, 2)

        functions = {}
        for fields in map(message, profile[5]):
            functions[fields[1][0]] = (text(fields, 2), text(fields, 4), fields[5][0])
        places = {}
        for fields in map(message, profile[4]):
            (line,) = map(message, fields[4])
            name, file_name, first_line = functions[line[1][0]]
            places[fields[1][0]] = (name, file_name, line[2][0], first_line)
        assert 0 not in places
        assert 0 not in functions
        self.units = [unit(data) for data in profile[1]]
        self.samples = []
        for fields in map(message, profile[2]):
            labels = {text(f, 1): text(f, 2) for f in map(message, fields[3])}
            stack = [places[number] for number in _numbers(fields[1][0])]
            self.samples.append((stack, _numbers(fields[2][0]), labels))
        self.began_at_ns, self.duration_ns = profile[9][0], profile[10][0]
        self.period_unit, self.period = unit(profile[11][0]), profile[12][0]
