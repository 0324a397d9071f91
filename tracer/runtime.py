"""The state of the interpreter, for `/debug/vars`. Nothing of environment or arguments."""

import gc
import platform
import resource
import sqlite3
import sys
import threading
import time
from typing import Any, Final

LIBRARIES: Final = ("cachetools", "falcon", "gunicorn", "msgspec", "peewee", "requests")


def describe() -> dict[str, Any]:
    """As JSON has it. `libraries` are those that are loaded."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    loaded = {name: sys.modules[name] for name in LIBRARIES if name in sys.modules}
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: str(getattr(m, "__version__", "")) for name, m in loaded.items()},
        "modules": len(sys.modules),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "gc": {"counts": gc.get_count(), "thresholds": gc.get_threshold(), "stats": gc.get_stats()},
        "frozen_objects": gc.get_freeze_count(),
        "cpu_s": time.process_time(),
        "max_rss_bytes": usage.ru_maxrss * 1024,
        "major_page_faults": usage.ru_majflt,
        "context_switches": {"voluntary": usage.ru_nvcsw, "involuntary": usage.ru_nivcsw},
    }
