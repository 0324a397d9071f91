"""Two network namespaces joined by a cable that can be made bad. Needs root, `ip`, `nft` and `tc`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SIDECAR = "10.201.77.1"
REMOTE = "10.201.77.2"


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Network:
    """A context manager. `sidecar` and `remote` are prefixes of commands that run there.

    Entering skips the test where namespaces are not to be had.
    """

    def __init__(self):
        here = f"oct{os.getpid()}"
        self._names = (f"{here}s", f"{here}r")
        self._links = (f"{here}v"[-12:] + "0", f"{here}v"[-12:] + "1")
        self.sidecar, self.remote = (("ip", "netns", "exec", name) for name in self._names)
        self._resolver = Path("/etc/netns", self._names[0])

    def __enter__(self):
        missing = [tool for tool in ("ip", "nft", "tc") if shutil.which(tool) is None]
        if missing:
            pytest.skip(f"no {' and no '.join(missing)} here")
        try:
            for name in self._names:
                run("ip", "netns", "add", name)
            run("ip", "link", "add", self._links[0], "type", "veth", "peer", "name", self._links[1])
            for name, link, address in zip(
                self._names, self._links, (SIDECAR, REMOTE), strict=True
            ):
                run("ip", "link", "set", link, "netns", name)
                inside = ("ip", "-n", name)
                run(*inside, "address", "add", f"{address}/24", "dev", link)
                run(*inside, "link", "set", link, "up")
                run(*inside, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.__exit__()
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        return self

    def __exit__(self, *_):
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self._resolver, ignore_errors=True)

    def heal(self):
        """Takes all faults back."""
        for prefix, link in zip((self.sidecar, self.remote), self._links, strict=True):
            subprocess.run([*prefix, "nft", "flush", "ruleset"], check=True)
            subprocess.run(
                [*prefix, "tc", "qdisc", "del", "dev", link, "root"],
                capture_output=True,
                check=False,
            )
            subprocess.run([*prefix, "ip", "link", "set", link, "up"], check=True)

    def _filter(self, rule, *prefixes):
        """What arrives there; at the remote, when nothing is said."""
        chain = f"chain arriving {{ type filter hook input priority 0; {rule}; }};"
        for prefix in prefixes or [self.remote]:
            run(*prefix, "nft", f"table inet faults {{ {chain} }}")

    def lose(self, percent):
        """That share of all packets, both ways."""
        rule = f"numgen random mod 100 < {percent} drop"
        self._filter(rule, self.sidecar, self.remote)

    def blackhole(self):
        """Nothing comes back, not even a refusal."""
        self._filter("drop")

    def reset(self):
        """A firewall that answers for the remote."""
        self._filter("meta l4proto tcp reject with tcp reset")

    def limit(self, rate):
        """What the sidecar sends, such as `2mbit`."""
        shape = ("rate", rate, "burst", "16kb", "latency", "200ms")
        run(*self.sidecar, "tc", "qdisc", "add", "dev", self._links[0], "root", "tbf", *shape)

    def unplug(self):
        run(*self.remote, "ip", "link", "set", self._links[1], "down")

    def dead_resolver(self):
        """Name servers that never answer, for commands started from now on."""
        self._resolver.mkdir(parents=True)
        (self._resolver / "resolv.conf").write_text(f"nameserver {REMOTE}\n")
        self._filter("udp dport 53 drop")
