"""Waiting for something with a deadline; never for a time to pass."""

import select
import socket
import time

#: Seconds that anything on this machine may take before a test calls it lost. Generous, as it is
#: only ever used up by a failure.
PATIENCE = 20.0


class Lost(AssertionError):
    """What was waited for did not come."""


def until(condition, what, timeout=PATIENCE):
    """Calls `condition` until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Lost(f"not within {timeout} s: {what}")
        # Not a guess at how long it takes: only how often to look.
        select.select([], [], [], pause)
        pause = min(pause * 1.5, 0.05)


def port_answers(address):
    """Does something listen there? `address` is (host, port) or a path."""
    family = socket.AF_UNIX if isinstance(address, str) else (
        socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(PATIENCE)
        return probe.connect_ex(address) == 0


def free_port(host="127.0.0.1"):
    """A port that nobody has now, out of the range that outgoing connections are given."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as range_file:
        low = int(range_file.read().split()[0])
    for port in _candidates(low):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise Lost("no free port")


#: Ports that one run of the tests takes for itself, where other runs share its network.
_SHARE = 2000
_share = _next_port = None


def _take_share(first, last):
    """(A socket whose name no other run in this network can have as long as it is open, the first
    port of a share, the one after its last); all ports where every share is taken."""
    for start in range(first, last - _SHARE, _SHARE):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0postern-test-ports-{start}")
            return mark, start, start + _SHARE
        except OSError:
            mark.close()
    return None, first, last


def _candidates(low):
    """Ports below the ephemeral range, each given once in a run as long as there are any."""
    global _share, _next_port
    if _share is None:
        _share = _take_share(10240, max(low - 1, 10340))
        _next_port = _share[1]
    _, first, last = _share
    for _ in range(last - first):
        _next_port = first + (_next_port + 1 - first) % (last - first)
        yield _next_port
