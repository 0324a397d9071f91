"""The shipped prices, read once for all tests that need some."""

import functools

from tests.support.gunicorn import PROJECT
from tracer.pricing import Prices
from tracer.quality import Quality

SHIPPED = PROJECT / "config" / "prices.json"


@functools.cache
def shipped_prices():
    return Prices(SHIPPED, None, Quality())
