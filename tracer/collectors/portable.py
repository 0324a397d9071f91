"""What psutil can say where there is no `/proc`, as on a developer's Mac. Imported only there."""

import psutil

from tracer.collectors.base import Deltas, Reading, percent


class Portable:
    """The host as a whole."""

    def __init__(self) -> None:
        self._deltas = Deltas()

    def collect(self) -> Reading:
        times, memory = psutil.cpu_times(), psutil.virtual_memory()
        traffic, process = psutil.net_io_counters(), psutil.Process()
        own = process.cpu_times()
        growth = self._deltas.update(
            {
                "user": times.user + getattr(times, "nice", 0.0),
                "system": times.system,
                "idle": times.idle,
                "rx": traffic and traffic.bytes_recv,
                "tx": traffic and traffic.bytes_sent,
                "own": own.user + own.system,
            }
        )
        total = sum(growth.get(name, 0.0) for name in ("user", "system", "idle"))
        load_1m, load_5m, load_15m = psutil.getloadavg()
        values = {
            "cpu_user_percent": growth.percent("user", of=total),
            "cpu_system_percent": growth.percent("system", of=total),
            "cpu_idle_percent": growth.percent("idle", of=total),
            "cpu_cores_limit": psutil.cpu_count(),
            "cpu_scope": "host",
            "load_1m": load_1m,
            "load_5m": load_5m,
            "load_15m": load_15m,
            "mem_used_bytes": max(0, memory.total - memory.available),
            "mem_available_bytes": memory.available,
            "mem_total_bytes": memory.total,
            "mem_percent": percent(max(0, memory.total - memory.available), memory.total),
            "swap_used_bytes": psutil.swap_memory().used,
            "mem_scope": "host",
            "net_rx_bytes": growth.get("rx"),
            "net_tx_bytes": growth.get("tx"),
            "processes": len(psutil.pids()),
            "tracer_rss_bytes": process.memory_info().rss,
            "tracer_threads": process.num_threads(),
            "tracer_cpu_percent": growth.percent("own", of=growth.seconds),
        }
        if total > 0:
            values["cpu_percent"] = percent(total - growth.get("idle", 0.0), total)
        return Reading(values)
