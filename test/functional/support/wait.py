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


_next_port = None


def _candidates(low):
    """Ports below the ephemeral range, each given once in a run as long as there are any."""
    global _next_port
    first, last = 10240, max(low - 1, 10340)
    import os
    if _next_port is None:
        _next_port = first + os.getpid() * 97 % (last - first)
    for _ in range(last - first):
        _next_port = first + (_next_port + 1 - first) % (last - first)
        yield _next_port
