"""Many generations at once, and reactors that die between two of them."""

import os
import re
import signal
import time

import pytest

from conftest import needs_root
from support import processes, wait
from support.backend import Backend
from support.client import Client


def hold_every_place(postern):
    """Sixteen generations, each kept by a transaction that is never ended; returns these."""
    held = []
    for _ in range(16):
        held.append(postern.log_in())
        held[-1].command("MAIL FROM:<a@b.test>", 250)
        postern.reload()
    return held


def test_reloads_that_wait_for_old_sessions_do_not_harm_a_stop(postern):
    """Sixteen generations may be at their end; SIGTERM adds the serving one."""
    held = hold_every_place(postern)
    held.append(postern.log_in())
    postern.signal(signal.SIGHUP)
    postern.wait_for_record(msg=re.compile("^the reload waits: ending the oldest sessions"))
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    for client in held:
        client.close()
    assert postern.wait() == 0


@pytest.mark.parametrize("is_stuck", [False, True])
def test_sessions_that_never_end_keep_no_reload_from_being_done(start, backend, is_stuck):
    """The oldest get the time of "drain", whatever they do, and all others go on."""
    postern = start(backend, timeouts={"drain": 1})
    oldest = postern.sole("reactor")
    held = hold_every_place(postern)
    if is_stuck:
        os.kill(oldest, signal.SIGSTOP)
    postern.configure(hostname="new.example")
    postern.reload()
    with Client(postern.starttls) as client:
        assert "new.example" in client.greeting().lines[0]
    if is_stuck:
        assert held[0].receive_rest() == b""
    else:
        held[0].reply(421)
        held[0].expect_closed()
        assert postern.session_record(held[0])["end"] == "shutdown, out of time"
    for client in held[1:]:
        client.command("RCPT TO:<c@d.test>", 250)
        client.close()


def test_session_of_before_a_reload_ends_in_time_but_no_transaction_does(start, backend):
    """As far as "reload" says; who has come since is not meant."""
    postern = start(backend, timeouts={"reload": 1})
    idle, sending = postern.log_in(), postern.log_in()
    sending.command("MAIL FROM:<a@b.test>", 250)
    sending.command("RCPT TO:<c@d.test>", 250)
    reactor = postern.sole("reactor")
    postern.reload()
    with postern.log_in() as new:
        idle.reply(421)
        idle.expect_closed()
        sending.command("DATA", 354)
        sending.send("x\r\n.\r\n")
        sending.reply(250)
        sending.reply(421)
        sending.expect_closed()
        wait.until(lambda: reactor not in postern.pids("reactor"), "the end of the old reactor")
        new.quit()


@pytest.mark.parametrize("role", ["auth worker", "opener"])
def test_reload_leaves_no_frozen_helper_behind(start, scratch, role):
    backend = Backend(path=scratch / "backend")
    postern = start(backend)
    old = wait.until(lambda: postern.pids(role), "the helpers")
    for pid in old:
        processes.freeze(pid)
    postern.reload()
    wait.until(lambda: not any(processes.alive(pid) for pid in old), "their end")
    postern.log_in().quit()
    backend.close()


@needs_root
def test_dead_reactor_of_an_old_generation_stays_dead(start, backend):
    """It waits for its turn to be started again when the reload makes it superfluous."""
    postern = start(backend.address, workers=2, hostname="old.example")
    postern.forgive()
    with postern.log_in():
        busiest = max(postern.team("reactor", 2), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
        for deaths in range(6):  # each waits longer to be started again
            victim, = wait.until(lambda: [pid for pid in postern.pids("reactor")
                                          if pid != busiest], "the other reactor")
            os.kill(victim, signal.SIGKILL)
            postern.wait_for_record(level="error", count=deaths + 1)
            if deaths < 5:
                postern.team("reactor", 2)
        postern.configure(hostname="new.example")
        postern.reload()
        deadline = time.monotonic() + 3  # longer than it would have waited
        while time.monotonic() < deadline:
            with Client(postern.starttls) as client:
                assert "new.example" in client.greeting().lines[0]


def test_reactor_that_was_started_after_a_pause_is_listened_to(start, scratch):
    """It asks the master for its unix backend; the pause's end is nobody's event but the clock's."""
    backend = Backend(path=scratch / "backend")
    postern = start(backend)
    postern.forgive()
    for deaths in range(3):
        reactor = postern.sole("reactor")
        os.kill(reactor, signal.SIGKILL)
        postern.wait_for_record(level="error", count=deaths + 1)
    postern.sole("reactor")
    with postern.log_in() as client:
        client.quit()
    backend.close()


@pytest.mark.parametrize("held", range(4))
def test_what_a_new_generation_logs_reaches_no_client(start, backend, held):
    """A reload's report is collected by the master; its reactors must have forgotten where, as
    that number is a connection's: which one's, is moved by sessions that an older one has."""
    postern = start(backend)
    older = [postern.connect(None) for _ in range(held)]
    for _ in older:
        postern.reload()
    postern.reload()
    others = [postern.connect(None) for _ in range(30)]
    assert not postern.find_records(level="warning", process="reactor")
    backend.close()
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert postern.find_records(level="warning", process="reactor", msg=re.compile("backend"))
    for other in older + others:
        other.quit()
        other.expect_closed()
