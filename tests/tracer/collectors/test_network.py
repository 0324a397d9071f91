import os
import socket
from pathlib import Path

import pytest

from tests.support.host import Clock, write
from tracer.collectors.network import Network, has_route
from tracer.collectors.sockets import connections, listeners

HEAD = "Inter-|   Receive                       |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n"
_ROOT = Path("/")
ROUTE_HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
ROUTE = ROUTE_HEAD + "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
ROUTE6 = f"{'0' * 32} 00 {'0' * 32} 00 {'f' * 32} 00000400 00000001 00000000 00000003     eth0\n"
NO_ROUTE6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"


def dev(**interfaces):
    """Name → received, receive errors, receive drops, sent, send errors, send drops."""
    lines = [
        f"{n:>6}: {rx} 1 {re} {rd} 0 0 0 0 {tx} 1 {te} {td} 0 0 0 0"
        for n, (rx, re, rd, tx, te, td) in interfaces.items()
    ]
    return HEAD + "\n".join(lines) + "\n"


def collect(root, *steps):
    clock = Clock()
    network = Network(root, clock)
    for files in steps:
        write(root, files)
        clock.now += 10
        values = network.collect().values
    return values


def test_traffic_of_the_interval_without_loopback(tmp_path):
    before = dev(lo=(9, 9, 9, 9, 9, 9), eth0=(1000, 1, 2, 500, 3, 4), wlan0=(10, 0, 0, 10, 0, 0))
    after = dev(
        lo=(99, 99, 99, 99, 99, 99), eth0=(3000, 2, 4, 600, 5, 8), wlan0=(15, 0, 0, 11, 0, 0)
    )
    values = collect(tmp_path, {"proc/net/dev": before}, {"proc/net/dev": after})
    assert values == {"net_rx_bytes": 2005, "net_tx_bytes": 101, "net_errors": 3, "net_drops": 6}


def test_a_tunnel_does_not_count_the_bytes_of_the_hardware_again(tmp_path):
    (tmp_path / "sys/class/net/eth0/device").mkdir(parents=True)
    zero, some = (0,) * 6, (100, 0, 0, 100, 0, 0)
    steps = [{"proc/net/dev": dev(eth0=x, tun0=x)} for x in (zero, some)]
    assert collect(tmp_path, *steps)["net_rx_bytes"] == 100


def test_an_interface_that_comes_or_begins_anew_gives_no_leap(tmp_path):
    steps = [
        {"proc/net/dev": dev(eth0=(1000, 0, 0, 1, 0, 0))},
        {"proc/net/dev": dev(eth0=(1500, 0, 0, 1, 0, 0), eth1=(10**9, 0, 0, 1, 0, 0))},
    ]
    assert collect(tmp_path, *steps)["net_rx_bytes"] == 500
    steps.append({"proc/net/dev": dev(eth0=(5, 0, 0, 1, 0, 0), eth1=(10**9 + 7, 0, 0, 1, 0, 0))})
    assert collect(tmp_path, *steps)["net_rx_bytes"] == 7


def test_without_files_nothing_is_known(tmp_path):
    values = collect(tmp_path, {}, {})
    assert set(values.values()) == {None}
    assert has_route(tmp_path) is None


def test_connections_are_counted_without_the_table_of_them(tmp_path):
    line = "   {}: 0100007F:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1\n"
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    tcp = head + line.format(0, 18789, "0A", 77) + line.format(1, 5000, "01", 88)
    files = {
        "proc/net/sockstat": "sockets: used 9\nTCP: inuse 6 orphan 1 tw 4 alloc 9 mem 2\nUDP: inuse 1 mem 0\n",
        "proc/net/sockstat6": "TCP6: inuse 3\nUDP6: inuse 0\n",
        "proc/net/snmp": "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens CurrEstab InSegs\nTcp: 200 9 5 77\n",
        "proc/net/tcp": tcp,
        "proc/net/tcp6": head + line.format(0, 18789, "0A", 78),
    }
    root = write(tmp_path, files)
    assert connections(root) == {"net_connections": 11, "net_established": 5}
    assert listeners(root) == {18789: {"socket:[77]", "socket:[78]"}}
    (root / "proc/net/snmp").write_text("Tcp: x\n")
    assert connections(root)["net_established"] is None


def test_real_connections_of_this_machine_are_counted():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        inode = os.readlink(f"/proc/self/fd/{server.fileno()}")
        with socket.create_connection(("127.0.0.1", port)):
            found = connections(_ROOT)
            assert found["net_established"] >= 2
            assert found["net_connections"] >= 2
            assert listeners(_ROOT)[port] == {inode}
    assert port not in listeners(_ROOT)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/net/route": ROUTE}, True),
        ({"proc/net/route": ROUTE, "sys/class/net/eth0/operstate": "up\n"}, True),
        ({"proc/net/route": ROUTE, "sys/class/net/eth0/operstate": "unknown\n"}, True),
        ({"proc/net/route": ROUTE, "sys/class/net/eth0/operstate": "down\n"}, False),
        ({"proc/net/route": ROUTE.replace("0003", "0002")}, False),
        ({"proc/net/route": ROUTE_HEAD + "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"}, False),
        ({"proc/net/route": ROUTE_HEAD, "proc/net/ipv6_route": ROUTE6}, True),
        ({"proc/net/route": ROUTE_HEAD, "proc/net/ipv6_route": NO_ROUTE6}, False),
        ({"proc/net/ipv6_route": ROUTE6}, True),
    ],
)  # fmt: skip
def test_the_way_out(tmp_path, files, expected):
    assert has_route(write(tmp_path, files)) is expected
