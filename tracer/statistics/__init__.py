"""Sums, counts and percentiles over the stored events (contract section 5): a module per subject.

All are read by SQL along a covering index and keep a bounded number of groups, so memory stays
bounded. To add a subject, add a module and name it here.
"""

from tracer.statistics.costs import COST_BY, cost
from tracer.statistics.failures import ERRORS_BY, errors
from tracer.statistics.groups import DAY_MS
from tracer.statistics.latencies import LATENCY_BY, latency
from tracer.statistics.series import Period

__all__ = [
    "COST_BY",
    "DAY_MS",
    "ERRORS_BY",
    "LATENCY_BY",
    "Period",
    "cost",
    "errors",
    "latency",
]
