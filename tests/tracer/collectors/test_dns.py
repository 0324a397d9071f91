import socket
import threading

from tests.support import wait_until
from tests.support.host import Clock
from tracer.collectors.dns import DEADLINE_S, ROUND_S, Dns


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "dns"]


def finished(dns):
    wait_until(lambda: dns._round.is_done)
    return dns.collect()


def test_the_slowest_name_and_the_failures_once_for_each_round():
    def resolve(name):
        if name == "bad":
            raise socket.gaierror(-2, "Name or service not known")

    clock = Clock()
    dns = Dns(["good", "bad"], clock, resolve)
    assert dns.collect().values == {}
    reading = finished(dns)
    assert reading.values["dns_failures"] == 1
    assert reading.values["dns_ms"] >= 0
    assert "not known" in reading.facts["dns_failed"]["bad"]
    assert dns.collect().values == {}
    clock.now += ROUND_S - 1
    assert dns.collect().values == {}
    clock.now += 1
    dns.collect()
    assert finished(dns).values["dns_failures"] == 1


def test_a_resolver_that_hangs_costs_one_thread_and_counts_as_failed():
    go_on = threading.Event()
    clock = Clock()
    dns = Dns(["a", "b"], clock, lambda name: go_on.wait(10))
    try:
        dns.collect()
        clock.now += DEADLINE_S - 1
        assert dns.collect().values == {}
        clock.now += 1
        reading = dns.collect()
        assert reading.values == {"dns_ms": None, "dns_failures": 2}
        assert "no answer" in reading.facts["dns_failed"]["a"]
        for _ in range(20):
            clock.now += ROUND_S
            assert dns.collect().values == {}
        assert len(threads()) == 1
    finally:
        go_on.set()
    wait_until(lambda: not threads())
    dns.collect()
    assert finished(dns).values["dns_failures"] == 0


def test_without_names_nothing_is_asked():
    dns = Dns([])
    assert dns.collect().values == {}
    assert threads() == []


def test_the_real_resolver_knows_localhost():
    dns = Dns(["localhost"])
    dns.collect()
    assert finished(dns).values["dns_failures"] == 0
