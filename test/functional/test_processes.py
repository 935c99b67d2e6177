"""Processes: each may die, be replaced, reloaded and told to stop."""

import contextlib
import os
import re
import signal
import threading
import time

import pytest

from conftest import needs_root
from support import client, processes, wait
from support.client import plain_response
from support.visitors import Visitors


def mail(one, text=b"text\r\n"):
    one.send_message("a@b.test", ["c@d.test"], text)


# death

def test_death_of_the_reactor_is_survived_and_told(postern):
    lost = postern.log_in()
    reactor = postern.sole("reactor")
    os.kill(reactor, signal.SIGKILL)
    assert lost.receive_rest() == b""
    postern.wait_for_record(level="error", msg=re.compile(rf"reactor {reactor} ended: signal 9"))
    postern.wait_for_record(level="notice", msg=re.compile(r"reactor 0 is now \d+"))
    postern.log_in().quit()
    postern.sole("reactor")
    postern.team("auth worker", 2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_death_of_an_idle_auth_worker_is_survived_and_told(postern, number):
    if number == signal.SIGABRT:
        postern.forgive()
    for count, worker in enumerate(postern.team("auth worker", 2), 1):
        os.kill(worker, number)
        postern.wait_for_record(level="warning", count=count,
                                msg=re.compile(r"auth worker \d is replaced: the worker has gone"))
        postern.wait_for_record(level="notice", count=count,
                                msg=re.compile(r"auth worker \d of reactor \d+ is now \d+"))
        postern.team("auth worker", 2)
    postern.log_in().quit()


@pytest.mark.parametrize("password, code", [("builder", 235), ("wrong", 535)])
def test_login_whose_auth_worker_dies_is_decided_by_the_next_one(start, backend, pam, password, code):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1})
    worker = postern.sole("auth worker")
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("bob", password) + "\r\n")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        os.kill(worker, signal.SIGKILL)
        wait.until(lambda: pam.stuck_count() == 2, "bob in the module of the next worker")
        pam.release()
        one.reply(code)


def test_login_that_kills_its_auth_workers_kills_two(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1})
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        for count in (1, 2):
            wait.until(lambda count=count: pam.stuck_count() == count, "bob in the module")
            os.kill(postern.sole("auth worker"), signal.SIGKILL)
        one.reply(454)
        one.login("alice", "wonderland")
    assert pam.stuck_count() == 2


def test_one_reactor_of_several_may_die(start, backend):
    postern = start(backend, workers=3)
    before = postern.team("reactor", 3)
    os.kill(before[1], signal.SIGKILL)
    wait.until(lambda: len(postern.pids("reactor")) == 3 and
               before[1] not in postern.pids("reactor"), "a new reactor")
    postern.wait_for_record(level="notice", msg=re.compile(r"reactor 1 is now"))
    for _ in range(12):
        postern.log_in().quit()


def test_reactor_that_dies_again_and_again_is_not_restarted_in_a_circle(postern):
    deaths = []
    end = time.monotonic() + 3
    while time.monotonic() < end:
        for reactor in postern.pids("reactor"):
            deaths.append(reactor)
            with contextlib.suppress(ProcessLookupError):  # has died since
                os.kill(reactor, signal.SIGKILL)
        wait.until(lambda: postern.pids("reactor") or time.monotonic() > end, "a reactor")
    assert 2 <= len(deaths) < 15
    wait.until(lambda: postern.pids("reactor"), "a reactor in the end", 60)
    wait.until(lambda: wait.port_answers(postern.starttls), "service")
    postern.log_in().quit()


def test_connections_wait_while_the_reactor_is_replaced(postern):
    """The listening sockets are the master's: nobody is refused in between."""
    reactor = postern.sole("reactor")
    os.kill(reactor, signal.SIGKILL)
    with client.Client(postern.starttls) as one:
        one.greeting()


def test_death_of_the_master_ends_service_but_no_transaction(start, backend):
    postern = start(backend)
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    reactor = postern.sole("reactor")
    workers = postern.team("auth worker", 2)
    os.kill(postern.pid, signal.SIGKILL)
    postern.abandon()
    postern.wait_for_record(level="error", process="reactor", msg=re.compile("master is gone"))
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send(b"x\r\n.\r\n")
    one.reply(250)
    one.quit()
    wait.until(lambda: not processes.alive(reactor), "the end of the reactor")
    wait.until(lambda: not any(map(processes.alive, workers)), "the end of its workers")
    assert not wait.port_answers(postern.starttls)


# SIGTERM

def test_stop_lets_a_transaction_finish(start, backend):
    postern = start(backend)
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    wait.until(lambda: not wait.port_answers(postern.starttls), "closed ports")
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send(b"x\r\n.\r\n")
    one.reply(250)
    one.reply(421)
    one.expect_closed()
    assert postern.wait() == 0
    assert backend.session().messages == [b"x\r\n.\r\n"]


def test_stop_does_not_wait_for_the_idle(start, backend):
    postern = start(backend, timeouts={"drain": 600})
    idle, waiting, plain = postern.log_in(), postern.connect(), postern.connect(None)
    postern.signal(signal.SIGTERM)
    for one in (idle, waiting, plain):
        one.reply(421)
        one.expect_closed()
    assert postern.wait() == 0


def test_stop_waits_no_longer_than_configured(start, backend):
    postern = start(backend, timeouts={"drain": 1})
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    postern.signal(signal.SIGTERM)
    one.reply(421)
    one.expect_closed()
    assert postern.wait() == 0
    assert postern.session_record(one)["end"] == "shutdown, out of time"


def test_stop_that_is_asked_for_twice_is_at_once(start, backend):
    postern = start(backend, timeouts={"drain": 600})
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    one.close()


def test_interrupt_is_a_stop(start, backend):
    postern = start(backend)
    postern.signal(signal.SIGINT)
    assert postern.wait() == 0


def test_stop_with_a_login_in_pam(start, backend, pam):
    """Whoever is stuck there does not keep the server from stopping."""
    postern = start(backend, auth={"pam_service": "gated"})
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        postern.signal(signal.SIGTERM)
        one.reply(421)
        assert postern.wait() == 0
    wait.until(lambda: not postern.pids("auth worker"), "the end of the workers")


# SIGHUP

def test_reload_shows_the_new_certificate_to_new_connections(start, backend, certificates, scratch):
    certificate, key = certificates.install("good", scratch)
    postern = start(backend, tls={"certificate": certificate, "key": key})
    with postern.log_in() as live:
        before = live.tls.getpeercert(binary_form=True)
        certificates.install("other", scratch)
        postern.reload()
        with postern.connect() as new:
            assert new.tls.getpeercert(binary_form=True) != before
        mail(live)
        live.quit()


def test_reload_takes_the_new_configuration(start, backend, scratch):
    from support.backend import Backend
    postern = start(backend)
    other = Backend()
    postern.configure(hostname="new.example.org", backend={"address": other.address},
                      auth={"mechanisms": ["LOGIN"]})
    postern.reload()
    with postern.connect() as one:
        assert one.command("EHLO x", 250).lines[0] == "new.example.org"
        assert one.ehlo()["AUTH"] == "LOGIN"
        one.command("AUTH LOGIN YWxpY2U=", 334)
        one.command("d29uZGVybGFuZA==", 235)
    assert other.session().identity["LOGIN"] == "alice"
    assert not backend.sessions
    other.close()


def test_reload_opens_and_closes_ports(start, backend):
    postern = start(backend)
    extra = ("127.0.0.1", wait.free_port())
    postern.configure(listen={"submission": {"address": "%s:%d" % postern.starttls},
                              "extra": {"address": "%s:%d" % extra}})
    postern.reload()
    with client.Client(extra) as one:
        one.greeting()
        one.quit()
    wait.until(lambda: not wait.port_answers(postern.implicit), "the closed port")
    with postern.connect(None) as one:
        one.quit()


def test_live_sessions_survive_reloads(start, backend):
    """Threat 24: also in the middle of a message, and however often."""
    postern = start(backend)
    with postern.log_in() as sending, postern.connect(None) as greeted:
        sending.command("MAIL FROM:<a@b.test>", 250)
        sending.command("RCPT TO:<c@d.test>", 250)
        sending.command("DATA", 354)
        for number in range(5):
            sending.send(b"%d\r\n" % number)
            postern.reload()
        sending.send(b".\r\n")
        sending.reply(250)
        sending.quit()
        greeted.ehlo()
        greeted.starttls()
        greeted.ehlo()
        greeted.login("alice", "wonderland")
        mail(greeted)
        greeted.quit()
    assert backend.session().messages == [b"0\r\n1\r\n2\r\n3\r\n4\r\n.\r\n"]
    postern.sole("reactor")
    postern.team("auth worker", 2)


def test_nothing_is_refused_during_reloads(start, backend):
    postern = start(backend, workers=2)
    failures, done, count = [], threading.Event(), []

    def knock():
        while not done.is_set():
            try:
                with postern.connect(None) as one:
                    one.ehlo()
                    one.quit()
                count.append(1)
            except Exception as failure:
                failures.append(failure)
                return
    threads = [threading.Thread(target=knock) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        postern.reload()
    done.set()
    for thread in threads:
        thread.join()
    assert not failures and len(count) > 20


def test_reloads_in_a_row_end_with_the_last_configuration(start, backend):
    postern = start(backend)
    for number in range(10):
        postern.configure(hostname=f"number{number}.example.org")
        postern.signal(signal.SIGHUP)

    def greeting():
        with client.Client(postern.starttls) as one:
            return one.greeting().text
    wait.until(lambda: greeting().startswith("number9."), "the last configuration")


SPOILED = {
    "nonsense": lambda postern, _: postern.write_configuration("{ this is not one"),
    "unknown key": lambda postern, _: postern.configure(surprise=True),
    "missing file": lambda postern, _: postern.configuration_path.unlink(),
    "missing certificate": lambda postern, _: postern.configure(
        tls={"certificate": "/nonexistent/certificate.pem"}),
    "key of another": lambda postern, certificates: postern.configure(
        tls={"key": certificates.other_key}),
    "port of another": lambda postern, _: postern.configure(
        listen={"a": {"address": "%s:%d" % postern.starttls}, "b": {"address": "192.0.2.1:25"}}),
    "unknown user": lambda postern, _: postern.configure(user="no-such-user"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_bad_reload_changes_nothing(start, backend, certificates, how):
    """Promise 10, threat 24: told in the log, old sessions and new ones served as before."""
    if how == "unknown user" and os.geteuid() != 0:
        pytest.skip("needs root")
    postern = start(backend)
    with postern.log_in() as live:
        shown = live.tls.getpeercert(binary_form=True)
        reactors = postern.pids("reactor")
        SPOILED[how](postern, certificates)
        assert len(postern.reload_refused()) > 1
        mail(live)
        with postern.log_in() as new:
            assert new.tls.getpeercert(binary_form=True) == shown
            mail(new)
        with postern.connect(None) as plain:
            plain.ehlo()
        assert postern.pids("reactor") == reactors
    postern.configure(hostname="mended.example.org", user="nobody", surprise=None, tls={
        "certificate": certificates.certificate, "key": certificates.key}, listen={
            "submissions": {"address": "%s:%d" % postern.implicit, "tls": "implicit"},
            "submission": {"address": "%s:%d" % postern.starttls}})
    postern.reload()
    with client.Client(postern.starttls) as one:
        assert one.greeting().text.startswith("mended.example.org")


def test_bad_reload_that_asks_for_more_workers_leaves_nobody_waiting(start, backend, certificates):
    """Promise 10: no connection goes where nobody serves it, or is cut off."""
    postern = start(backend, workers=1)
    postern.configure(workers=4, tls={"certificate": certificates.other_certificate})
    with Visitors(postern) as visitors:
        for _ in range(3):
            postern.reload_refused()
            visitors.go_on(20)
    postern.configure(tls={"certificate": certificates.certificate})
    with Visitors(postern) as visitors:
        postern.reload()
        postern.team("reactor", 4)
        visitors.go_on(20)
        postern.configure(workers=2)
        postern.reload()
        postern.team("reactor", 2)
        visitors.go_on(20)


def end_one_that_starts(postern):
    """A reload of which one reactor is killed before all are ready. False: they were faster."""
    old = postern.pids("reactor")
    over = len(postern.find_records(msg=re.compile("^reload(ed:| refused)")))
    postern.signal(signal.SIGHUP)
    new = wait.until(lambda: set(postern.pids("reactor")) - set(old), "a new reactor").pop()
    os.kill(new, signal.SIGSTOP)
    in_time = not postern.find_records(msg=re.compile("^reloaded:"))
    os.kill(new, signal.SIGKILL if in_time else signal.SIGCONT)
    postern.wait_for_record(msg=re.compile("^reload(ed:| refused)"), count=over + 1)
    return in_time


def test_reload_that_fails_late_cuts_nobody_off(start, backend):
    """Whoever has come meanwhile was not let in by the new ones that were ready already."""
    postern = start(backend, workers=1)
    postern.configure(workers=6)
    with Visitors(postern) as visitors:
        for _ in range(3):
            if not end_one_that_starts(postern):
                break
            visitors.go_on()


def test_bad_reload_leaves_the_log_as_it_was(start, backend, certificates):
    """The file is good and its certificate is not: its log { } does not stay."""
    postern = start(backend)
    postern.configure(log={"format": "json", "level": "error"},
                      tls={"key": certificates.other_key})
    postern.reload_refused()
    postern.signal(signal.SIGHUP)
    postern.wait_for_record(level="notice", msg="reloading", count=2)
    again = [line for line in postern.output().splitlines() if "reloading" in line]
    assert len(again) == 2 and all(line.startswith("time=") for line in again)


def test_stop_during_a_drain(start, backend):
    """Sessions of an older generation are told as well."""
    postern = start(backend)
    old = postern.log_in()
    postern.reload()
    new = postern.log_in()
    postern.signal(signal.SIGTERM)
    for one in (old, new):
        one.reply(421)
        one.expect_closed()
    assert postern.wait() == 0


@needs_root
def test_threat_21_reactor_holds_nothing_that_it_does_not_need(postern):
    """No file of the disk, not the key's nor the configuration's."""
    with postern.log_in():
        reactor = postern.sole("reactor")
        for what in processes.descriptors(reactor).values():
            assert re.match(r"socket:|anon_inode:|pipe:|/dev/null$", what) or \
                what == str(postern.log_path), what
