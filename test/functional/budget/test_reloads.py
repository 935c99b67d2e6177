"""Thirty reloads under load leave nothing behind: memory is looked at without the sanitizers',
which keep some of their own."""

import os

from support import processes, wait
from support.visitors import Visitors

RELOADS = 30


def test_thirty_reloads_under_load_refuse_nobody_and_leak_nothing(start, backend):
    postern = start(backend)

    def one_generation():
        return len(postern.pids("reactor")) == 1

    def state():
        wait.until(lambda: one_generation() and not processes.zombies(postern.pid),
                   "the end of the old reactors")
        return (len(os.listdir(f"/proc/{postern.pid}/fd")),
                processes.resident_bytes(postern.pid))
    with Visitors(postern) as visitors:
        for _ in range(3):  # the first ones fill the free lists
            postern.reload()
            visitors.go_on()
        descriptors, resident = state()
        for _ in range(RELOADS):
            postern.reload()
            visitors.go_on(3)
        after_descriptors, after_resident = state()
    # What an ended reactor left is closed a moment after it has been waited for.
    assert after_descriptors <= descriptors or wait.until(
        lambda: state()[0] <= descriptors, "as few descriptors as before")
    assert after_resident - resident < 1_000_000
    assert not postern.find_records(level="error")
