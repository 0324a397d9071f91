"""Stores batches in a database and writes the highest number that is committed to descriptor 1."""

import os
import sys
from pathlib import Path

from tests.support.decoders import decoder_of
from tracer.events import CustomEvent
from tracer.store import Store


def main(path, batches):
    store = Store(Path(path), synchronous="full")
    store.open()
    decoder = decoder_of(CustomEvent, is_redacting=False)
    text = b'{"name":"%d","x":"' + b"x" * 300 + b'"}'
    number = 0
    for batch in range(batches):
        records = []
        for _ in range(1 + batch % 7):
            number += 1
            records.append(decoder.decode(text % number, number))
        store.insert(records)
        os.write(1, b"acked %d\n" % number)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
