"""Threat 37: nobody waits for a log that nobody takes, and what is lost is counted and told."""

import os
import signal

import pytest

from conftest import needs_root
from support import control, stuck_log, wait
from support.stuck_log import PLACES

pytestmark = needs_root

LOST = "postern_log_records_lost_total"
#: In one go.
SESSIONS = 20


@pytest.fixture(params=PLACES, ids=lambda name: name.replace(" ", "_"))
def log(request, scratch):
    made = PLACES[request.param](scratch)
    yield made
    made.close()


@pytest.fixture
def started(start, backend, certificates, scratch, log):
    """started(…) -> a Postern whose log is stuck, and that serves."""
    def run(**settings):
        certificate, key = certificates.install("good", scratch)
        if "setpriv" in log.options.get("command", ()):
            for path in (certificate, key, scratch):
                os.chown(path, 65534, 65534)
        settings["admin"] = {"socket": scratch / "control",
                             "metrics": f"127.0.0.1:{wait.free_port()}"}
        postern = start(backend, ready=False, tls={"certificate": certificate, "key": key},
                        **log.options, **settings)
        log.started()
        wait.until(lambda: wait.port_answers(postern.implicit), "service")
        host, port = settings["admin"]["metrics"].split(":")
        postern.lost = lambda: control.metrics(postern, address=(host, int(port)))[LOST]
        return postern
    return run


@pytest.fixture
def logged(pam):
    """A PAM service that tells syslog of each login."""
    return pam.service("logged", "auth optional pam_warn.so", "auth required pam_permit.so",
                       "account required pam_permit.so")


def visit(postern, sessions):
    """Leaves a line for each."""
    for _ in range(sessions):
        with postern.connect(None) as one:
            one.quit()


def fill(postern):
    """Until there is no room for any line."""
    def all_are_lost():
        before = postern.lost()
        visit(postern, SESSIONS)
        return postern.lost() >= before + SESSIONS
    wait.until(all_are_lost, "a log that is full")


def log_in_and_out(postern):
    with postern.log_in() as one:
        one.quit()


def test_threat_37_log_that_nobody_takes_stops_no_process(started):
    """Sessions, logins that succeed and fail, the replacement of processes, a reload and the end
    go on, and what alerts watch counts."""
    postern = started(auth={"workers": 1})
    fill(postern)
    log_in_and_out(postern)
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
    worker = postern.sole("auth worker")
    os.kill(worker, signal.SIGKILL)
    wait.until(lambda: postern.pids("auth worker") not in ([], [worker]), "another worker")
    log_in_and_out(postern)
    for number in (signal.SIGKILL, signal.SIGHUP):
        reactor, = postern.pids("reactor")
        os.kill(reactor if number == signal.SIGKILL else postern.pid, number)
        wait.until(lambda reactor=reactor: postern.pids("reactor") not in ([], [reactor])
                   and reactor not in postern.pids("reactor"), "another reactor")
        wait.until(lambda: wait.port_answers(postern.implicit), "its service")
        log_in_and_out(postern)
    fill(postern)
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0


def test_threat_37_what_pam_logs_delays_no_login(start, backend, logged, scratch):
    """Its modules use syslog whatever the log of Postern is, and a process that logs for one login
    is needed for the next one."""
    syslog = stuck_log.Syslog(scratch)
    postern = start(backend, command=syslog.options["command"],
                    auth={"pam_service": logged, "workers": 1})

    def some_are_lost():
        log_in_and_out(postern)
        return control.metrics(postern)[LOST]
    wait.until(some_are_lost, "a count of lost lines")
    for _ in range(10):
        log_in_and_out(postern)
    syslog.read(postern)
    syslog.wait_for_text("pam_warn(logged:auth)")
    syslog.close()


def test_what_pam_logs_without_a_syslog_is_not_called_lost(start, backend, logged, scratch):
    """As in a container: nobody could do anything about it."""
    postern = start(backend, command=stuck_log.other_dev(scratch)[1],
                    auth={"pam_service": logged})
    log_in_and_out(postern)
    assert control.metrics(postern)[LOST] == 0


def test_first_line_that_can_be_written_says_how_many_were_lost(started, log, logged):
    """And what the processes say, auth workers too, adds up to what is counted."""
    postern = started(auth={"pam_service": logged, "workers": 1})
    fill(postern)
    log.read(postern)

    def told():
        log_in_and_out(postern)
        return sum(int(record["count"]) for record in log.records(event="log records lost"))
    wait.until(lambda: told() >= 1, "what was lost is told")
    wait.until(lambda: told() == postern.lost(), "all of it is told")
    record = log.records(event="log records lost")[0]
    assert record.get("level", "warning") == "warning" and record["process"]
