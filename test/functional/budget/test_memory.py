"""Without memory: what a reactor does when the system refuses it more. Of the release build only, as
the sanitizers take as much of the address space as there is."""

import os
import pathlib
import re
import subprocess

import pytest

from support import control, wait
from support.client import Client

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

MEGABYTE = 1 << 20
#: More than one answer with all sessions shows.
SESSIONS = 800


def limit_memory(pid, more_bytes):
    """So much more address space than the process has; None: any. Its own user may do that."""
    used = re.search(r"VmSize:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    limit = "unlimited" if more_bytes is None else int(used[1]) * 1024 + more_bytes
    subprocess.run(["prlimit", f"--pid={pid}", f"--as={limit}:"], check=True, user="nobody",
                   group="nogroup", extra_groups=[])


def ask(postern, target):
    """The status; 0: the connection was closed."""
    try:
        return control.request(postern, target)[0]
    except (OSError, ValueError, IndexError):
        return 0


@needs_root
def test_query_that_finds_no_memory_costs_no_session(rig):
    """With a little more each time, so that another allocation of the answer is refused."""
    made = rig()
    made.postern.forgive()
    holder = made.hold(SESSIONS)
    reactor = made.reactor
    for steps in range(0, 160):
        limit_memory(reactor, steps * MEGABYTE // 16)
        for target in ("/sessions?limit=10000", "/metrics", "/status"):
            ask(made.postern, target)
        assert made.postern.pids("reactor") == [reactor], f"died with {steps}/16 MiB left"
    limit_memory(reactor, None)
    wait.until(lambda: ask(made.postern, "/sessions") == 200, "an answer")
    assert control.get(made.postern, "/sessions?limit=1")["total"] == SESSIONS
    refused = control.metrics(made.postern)['postern_limits_hit_total{limit="memory"}']
    assert refused > 0
    assert made.postern.find_records(level="warning", msg=re.compile("is refused: out of memory"))
    holder.communicate("\n", timeout=wait.PATIENCE * 3)


@needs_root
def test_client_that_finds_no_memory_is_told_of_in_a_warning(rig):
    """And counted; those who come when there is memory again are served."""
    made = rig()
    made.postern.forgive()
    limit_memory(made.reactor, 0)
    crowd = []

    def found():
        try:
            crowd.append(Client(made.postern.implicit, tls=True))
        except OSError:
            pass
        return (made.postern.find_records(level="warning", event="session ended",
                                          end=re.compile("malloc failure|out of memory")) or
                made.postern.find_records(level="warning", msg=re.compile("out of memory")))
    wait.until(found, "a warning", wait.PATIENCE * 3)
    limit_memory(made.reactor, None)
    for one in crowd:
        one.close()
    made.load(n=1, R=1)
    assert control.metrics(made.postern)['postern_limits_hit_total{limit="memory"}'] > 0


def anonymous_bytes(pid):
    """What the process has of memory of its own."""
    found = re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024


def test_peak_leaves_its_memory_to_others(rig):
    """What thousands of sessions took is there for handshakes afterwards, and for other processes."""
    made = rig()
    made.hold(100).communicate("\n", timeout=wait.PATIENCE * 3)
    made.postern.wait_for_record(event="session ended", count=100)
    before = anonymous_bytes(made.reactor)
    made.hold(3000).communicate("\n", timeout=wait.PATIENCE * 6)
    made.postern.wait_for_record(event="session ended", count=3100)
    wait.until(lambda: anonymous_bytes(made.reactor) - before < 3 * MEGABYTE, "the memory")
