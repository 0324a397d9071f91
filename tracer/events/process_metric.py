"""One process at one pass of the sampler: among the heaviest, the gateway, or a zombie."""

from tracer.events.base import Event
from tracer.fields import Amount, Count, LargeCount, Text


class ProcessMetric(Event):
    """One process. `created_at` is that of the pass; only the sidecar makes these."""

    type_name = "process_metric"
    list_route = "/v1/processes"
    filters = ("name",)

    pid = Count("process id", source="`/proc/PID/stat`")
    ppid = Count("process id of its parent", source="the same")
    name = Text("name of the program, never its arguments", source="the same")
    state = Text("`R`, `S`, `D`, `Z`, … as in proc(5)", source="the same")
    cpu_percent = Amount("CPU in the interval, of one core", source="the same")
    rss_bytes = LargeCount("resident memory", source="the same")
    threads = Count("threads", source="the same")
    started_at = LargeCount("when it started, epoch milliseconds", source="the same")
    is_gateway = Count("1 for the watched process, else 0")

    class Meta:
        table_name = "process_metrics"
