"""Auth workers that a PAM module spoils: what that costs other people (threat 36)."""

import os
import pathlib
import re
import signal

import pytest

from conftest import needs_root
from support import processes, wait
from support.client import plain_response


@pytest.fixture
def spoiling(start, backend, pam):
    """run("alice=memory", workers=2) -> a Postern whose module does that when alice logs in."""
    def run(*deeds, workers=1, **auth):
        run.file = pam.spoiling(*deeds)
        return start(backend, auth={"pam_service": "spoiling", "workers": workers, **auth})
    return run


def attempt(postern, user, password, *codes):
    with postern.connect() as one:
        one.ehlo()
        return one.login(user, password, *codes).code


def wait_for_replacement(postern, worker):
    wait.until(lambda: not processes.alive(worker), "the end of the spoiled worker")
    return postern.sole("auth worker")


def test_threat_36_login_that_eats_all_descriptors_costs_nobody_else_theirs(spoiling):
    """libpam itself cannot start a login then."""
    postern = spoiling("bob=descriptors", workers=2)
    postern.forgive()  # the leak checker needs a descriptor in the worker that leaves
    attempt(postern, "bob", "builder", 235, 454, 535)
    assert [attempt(postern, "alice", "wonderland", 235, 454) for _ in range(20)] == [235] * 20


@pytest.mark.parametrize("deed", ["some_descriptors", "memory", "threads",
                                  pytest.param("user", marks=needs_root)])
def test_threat_36_worker_that_a_login_has_spoiled_serves_no_other(spoiling, deed):
    """Its own login is decided by then, and stands."""
    postern = spoiling(f"bob={deed}")
    worker = postern.sole("auth worker")
    if deed == "user":
        postern.forgive()  # the leak checker needs root in the worker that leaves
    attempt(postern, "alice", "wonderland", 235)
    assert postern.sole("auth worker") == worker
    attempt(postern, "bob", "builder", 235)
    attempt(postern, "alice", "wonderland", 235)
    wait_for_replacement(postern, worker)
    postern.wait_for_record(level="warning", process="auth worker",
                            msg=re.compile("a PAM module has spoiled this worker: "))


@pytest.mark.parametrize("deed", ["signals", "locale"])
def test_threat_36_what_a_login_changes_does_not_reach_the_next_one(spoiling, deed):
    postern = spoiling(f"bob={deed}", "alice=look")
    attempt(postern, "bob", "builder", 235)
    attempt(postern, "alice", "wonderland", 235)


@pytest.mark.parametrize("deed", ["abort_once", "no_memory_once", "outgrow_once"])
def test_login_that_a_spoiled_worker_cannot_decide_is_decided_by_another(spoiling, deed):
    postern = spoiling(f"bob={deed}")
    worker = postern.sole("auth worker")
    attempt(postern, "alice", "wonderland", 235)
    spoiling.file.touch()
    attempt(postern, "bob", "builder", 235)
    assert not spoiling.file.exists()
    assert wait_for_replacement(postern, worker) != worker
    assert not postern.find_records(event="login failed")


def test_login_that_no_worker_can_decide_is_tried_twice_and_no_more(spoiling):
    postern = spoiling("bob=abort")
    attempt(postern, "alice", "wonderland", 235)
    attempt(postern, "bob", "builder", 454)
    first, second = spoiling.file.read_text().split()
    assert first != second == str(postern.sole("auth worker"))
    # A new worker that has never decided anything does not blame itself.
    attempt(postern, "bob", "builder", 454)
    assert spoiling.file.read_text().split() == [first, second, second]


def test_each_worker_gets_its_share_of_the_logins(start, backend, pam, scratch):
    """And no more: one that fails at once is not asked first each time."""
    asked = pathlib.Path(scratch, "asked")
    script = pathlib.Path(scratch, "parent.sh")
    script.write_text(f"#!/bin/sh\necho $PPID >>{asked}\n")
    script.chmod(0o755)
    pam.service("counted", f"auth required pam_exec.so quiet {script}",
                "account required pam_permit.so")
    postern = start(backend, auth={"pam_service": "counted", "workers": 4})
    postern.team("auth worker", 4)
    wait.until(lambda: len({*asked_of(postern, asked)}) == 4, "every worker was asked")
    before = len(asked_of(postern, asked))
    for _ in range(8):
        attempt(postern, "alice", "wonderland", 235)
    latest = asked.read_text().split()[-8:]
    assert len(asked.read_text().split()) == before + 8
    assert [latest.count(worker) for worker in sorted(set(latest))] == [2] * 4


def asked_of(postern, asked):
    """The workers that were asked, in order, after one login more."""
    attempt(postern, "alice", "wonderland", 235)
    return asked.read_text().split()


def test_worker_is_replaced_after_its_number_of_logins(start, backend):
    postern = start(backend, auth={"workers": 1, "logins_per_worker": 3})
    seen = [postern.sole("auth worker")]
    for number in range(1, 8):
        attempt(postern, "alice", "wonderland", 235)
        if number % 3 == 0:
            seen.append(wait_for_replacement(postern, seen[-1]))
        assert postern.sole("auth worker") == seen[-1]
    assert len(set(seen)) == 3
    assert len(postern.find_records(level="notice", msg=re.compile(
        r"auth worker 0 is replaced: it has decided 3 logins"))) == 2
    assert not postern.find_records(level="warning", msg=re.compile("auth worker"))


def test_end_of_a_worker_is_noticed_though_a_child_of_it_lives(spoiling):
    """The child holds the worker's socket open; bob would wait for all of auth.timeout."""
    postern = spoiling("bob=die")
    worker = postern.sole("auth worker")
    attempt(postern, "bob", "builder", 454)

    def seen():
        return spoiling.file.read_text().split() if spoiling.file.exists() else []
    wait.until(lambda: len(seen()) == 2, "the children of the two workers that were asked")
    children = [int(each) for each in seen()]
    try:
        assert all(map(processes.alive, children))
        attempt(postern, "alice", "wonderland", 235)
        assert postern.sole("auth worker") != worker
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def test_programs_that_modules_start_have_the_default_signals(start, backend, pam, scratch):
    """A pipeline in a script ends when its reader does."""
    seen = pathlib.Path(scratch, "seen")
    script = pathlib.Path(scratch, "signals.sh")
    script.write_text(f"#!/bin/sh\ngrep -E '^Sig(Blk|Ign)' /proc/self/status >{seen}\n")
    script.chmod(0o755)
    pam.service("signals", f"auth required pam_exec.so quiet {script}",
                "account required pam_permit.so")
    postern = start(backend, auth={"pam_service": "signals"}, command=("nohup",))
    attempt(postern, "alice", "wonderland", 235)
    assert {line.split()[1] for line in seen.read_text().splitlines()} == {"0" * 16}


def test_login_under_way_survives_the_signals_that_a_terminal_sends(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1})
    worker = postern.sole("auth worker")
    with postern.connect() as bob:
        bob.ehlo()
        bob.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        wait.until(pam.stuck_count, "bob in the module")
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1):
            os.kill(worker, number)
        pam.release()
        bob.reply(235)
    assert postern.sole("auth worker") == worker
