"""Makes a database of old calls: `python -m tests.chaos.old_rows FILE ROWS`."""

import json
import sys
import time
from pathlib import Path

from tests.support.decoders import decoder_of
from tracer.events import LlmTrace
from tracer.store import Store


def main(path, rows, size=3800):
    store = Store(Path(path), synchronous="normal")
    store.open()
    decoder = decoder_of(LlmTrace, is_redacting=False)
    text = json.dumps({"provider": "p", "model": "m", "input_text": "x" * size}).encode()
    long_ago = (time.time_ns() // 10**6) - 30 * 86_400_000
    for start in range(0, rows, 500):
        store.insert(
            [decoder.decode(text, long_ago + n) for n in range(start, min(rows, start + 500))]
        )
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
