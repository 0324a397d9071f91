"""How the host was doing: one wide row per pass of the sampler."""

from typing import ClassVar

from tracer.events.base import Event
from tracer.fields import Amount, Choice, Count, LargeCount

SCOPES = ("cgroup_v2", "cgroup_v1", "host")


class SystemMetric(Event):
    """One pass. NULL where a value could not be read; only the sidecar makes these."""

    type_name = "system_metric"
    in_interval: ClassVar = (
        *("oom_kills", "disk_read_bytes", "disk_write_bytes", "net_rx_bytes", "net_tx_bytes"),
        *("net_errors", "net_drops", "tracer_gc_collections"),
    )
    """Columns that say how much came about since the pass before."""
    list_route = "/v1/metrics"

    cpu_percent = Amount(
        "CPU in use, of what may be used", source="`/proc/stat`, `cpu.stat`, `cpuacct.usage`"
    )
    cpu_user_percent = Amount("in programs", source="the same")
    cpu_system_percent = Amount("in the kernel", source="the same")
    cpu_idle_percent = Amount("not used", source="the same")
    cpu_steal_percent = Amount(
        "taken by other machines of the hypervisor; on shared CPUs this is the throttling",
        source="`/proc/stat`",
    )
    cpu_cores_used = Amount("cores in use", source="as `cpu_percent`")
    cpu_cores_limit = Amount(
        "cores that may be used: the least of CPUs, cpuset and quota of all ancestors",
        source="`cpu.max`, `cpu.cfs_quota_us`, `cpuset.*`",
    )
    cpu_throttled_percent = Amount(
        "periods in which the quota ran out; NULL without a quota", source="`cpu.stat`"
    )
    load_1m = Amount("load average of the host, 1 minute", source="`/proc/loadavg`")
    load_5m = Amount("5 minutes", source="the same")
    load_15m = Amount("15 minutes", source="the same")
    cpu_scope = Choice("whose CPU this is", SCOPES)
    mem_rss_bytes = LargeCount(
        "anonymous memory of programs", source="`memory.stat`, `/proc/meminfo` `AnonPages`"
    )
    mem_used_bytes = LargeCount(
        "used and not reclaimable at once: usage without inactive file cache, or total less "
        "available",
        source="`memory.current`, `memory.usage_in_bytes`, `/proc/meminfo`",
    )
    mem_available_bytes = LargeCount("limit less used, or what the host says", source="the same")
    mem_total_bytes = LargeCount(
        "the limit: the least of all ancestors; or the memory of the host",
        source="`memory.max`, `memory.limit_in_bytes`, `/proc/meminfo`",
    )
    mem_percent = Amount("used, of the total", source="the two")
    swap_used_bytes = LargeCount(
        "swap in use", source="`memory.swap.current`, `memory.memsw.*`, `/proc/meminfo`"
    )
    mem_scope = Choice("whose memory this is", SCOPES)
    oom_kills = Count(
        "processes the kernel killed for lack of memory, in the interval",
        source="`memory.events`, `memory.oom_control`, `/proc/vmstat`",
    )
    psi_cpu_percent = Amount(
        "part of the interval in which some task waited for a CPU",
        source="`/proc/pressure`, `*.pressure` of the group",
    )
    psi_mem_percent = Amount("the same for memory", source="the same")
    psi_io_percent = Amount("the same for I/O", source="the same")
    disk_total_bytes = LargeCount("size of the volume of the database", source="`statvfs`")
    disk_used_bytes = LargeCount("used on it", source="the same")
    disk_free_bytes = LargeCount("free for programs without privileges", source="the same")
    disk_percent = Amount("used, as `df` counts", source="the same")
    disk_read_bytes = LargeCount(
        "read from its device, in the interval", source="`/proc/diskstats`"
    )
    disk_write_bytes = LargeCount("written to its device, in the interval", source="the same")
    disk_read_bytes_per_s = Amount("read rate", source="the same")
    disk_write_bytes_per_s = Amount("write rate", source="the same")
    net_rx_bytes = LargeCount(
        "received, in the interval, without loopback", source="`/proc/net/dev`"
    )
    net_tx_bytes = LargeCount("sent, in the interval, without loopback", source="the same")
    net_connections = Count(
        "TCP connections in any state, `TIME_WAIT` included", source="`/proc/net/sockstat`, `tcp`"
    )
    net_established = Count(
        "those that are established, or half closed by the peer", source="`/proc/net/snmp`"
    )
    net_errors = Count("receive and send errors, in the interval", source="`/proc/net/dev`")
    net_drops = Count("packets dropped, in the interval", source="the same")
    dns_ms = Amount(
        "time to resolve the slowest name of `TRACE_DNS_PROBES`; NULL between probes",
        source="the resolver",
    )
    dns_failures = Count("names that did not resolve; NULL between probes", source="the resolver")
    processes = Count("processes", source="`/proc`")
    zombies = Count("processes that ended and were not waited for", source="`/proc/PID/stat`")
    gateway_up = Count("1 when the watched process runs; NULL without one to watch")
    gateway_pid = Count("its process id")
    gateway_cpu_percent = Amount("its CPU, of one core", source="`/proc/PID/stat`")
    gateway_rss_bytes = LargeCount("its resident memory", source="the same")
    tracer_rss_bytes = LargeCount("resident memory of our worker", source="`/proc/self/stat`")
    tracer_cpu_percent = Amount("CPU of our worker, of one core", source="the process clock")
    tracer_threads = Count("threads of our worker", source="`/proc/self/stat`")
    tracer_gc_collections = Count("garbage collections, in the interval", source="Python")
    interval_ms = Count("since the pass before", source="the monotonic clock")

    class Meta:
        table_name = "system_metrics"
