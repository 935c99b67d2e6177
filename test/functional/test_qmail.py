"""Postern with etc/examples/qmail in front of a program in qmail-smtpd's place: Debian's own, or a
real qmail-smtpd that the test has been given (support/qmail.py)."""

import contextlib
import os
import signal
import tempfile
import uuid

import pytest

from conftest import needs_root
from support import behind, example, processes, systemd, wait
from support import qmail as qmails
from support.behind import mail
from support.client import Client
from support.doctor import examine
from support.maildir import trace_fields

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"


@pytest.fixture(scope="module")
def qmail(work):
    made = qmails.Qmail(tempfile.mkdtemp(dir=work, prefix="qmail-"))
    yield made
    made.close()


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


@pytest.fixture
def front(start, qmail):
    """Postern with the example's configuration, where qmail's files are."""
    return start(None, example=example.text("qmail/postern.conf", {}), command=qmail.command)


def smtpds(front):
    """Pids of those that Postern has started."""
    return [pid for pid in processes.descendants(front.pid)
            if processes.title(pid).startswith(qmails.TITLES)]


# The program alone: what its environment says

@pytest.mark.parametrize("environment, codes", [({"RELAYCLIENT": ""}, [250]), ({}, [550, 553])])
def test_qmail_relays_for_whom_its_environment_names(qmail, environment, codes):
    process, ours = qmail.smtpd(PROTO="TCP", TCPREMOTEIP="203.0.113.9", TCPLOCALIP="127.0.0.1",
                                **environment)
    with Client(ours) as one:
        one.greeting()
        one.command("HELO client.example", 250)
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", *codes)
        one.quit()
    process.wait(20)


# Behind Postern

def test_qmail_hears_address_and_login(front, qmail, subject):
    with front.log_in(source="127.0.0.43") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        port = one.port
        one.quit()
    queued = qmail.wait_for_message(subject)
    environment = queued.environment
    assert environment.pop("PATH").startswith("/usr/local/sbin:")
    assert {name: environment[name] for name in environment if name not in ("LC_CTYPE", "PWD", "QMAILHOME")} == {
        "PROTO": "TCP", "TCPREMOTEIP": "127.0.0.43", "TCPREMOTEPORT": str(port),
        "TCPREMOTEINFO": "alice", "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(front.implicit[1]), "TCPLOCALHOST": "mail.example.org",
        "ESMTP_TLS": "1", "TLS_CONNECTED_PROTOCOL": "TLSv1.3", "RELAYCLIENT": ""}
    trace = trace_fields(queued.message)[-1]
    assert "client.example" in trace and "127.0.0.43" in trace
    assert not qmails.REAL or "(alice@127.0.0.43)" in trace


def test_qmail_takes_mail_with_the_rights_of_the_example(start, qmail, subject):
    with start(None, example=example.text("qmail/postern.conf", {}), command=[
            *qmail.command, *systemd.rights(example.drop_in("qmail"))]).log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert qmail.delivered(subject)


def test_qmail_relays_for_whoever_has_logged_in(front, qmail, subject):
    with front.log_in() as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
    assert qmail.wait_for_message(subject).recipients == [ELSEWHERE]


def test_no_smtpd_runs_for_who_has_not_logged_in(front, qmail):
    before = qmail.accepted()
    with front.connect() as one:
        one.ehlo()
        one.command("MAIL FROM:<alice@mail.test>", 530)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 530)
        wait.until(lambda: not smtpds(front), "the end of the probe")
        one.quit()
    assert qmail.accepted() == before


def test_qmail_gets_20_megabytes_whole(front, qmail, subject):
    behind.large_message_arrives_whole(front, qmail, subject)


def test_qmail_answers_what_a_client_pipelines(front, qmail, subject):
    behind.pipelined_commands_are_answered_in_order(front, qmail, subject)


def test_threat_07_nothing_is_smuggled_to_qmail(front, qmail, subject):
    behind.no_second_message_is_smuggled(front, qmail, subject)


def test_outage_of_qmail_loses_and_doubles_nothing(front, qmail, subject):
    """Its program dies; the next session gets another."""
    def fail():
        for pid in smtpds(front):  # that of the first probe may be there still
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, qmail, subject, fail=fail, recover=lambda: None)


def test_doctor_finds_the_example_good(front, qmail):
    findings = examine(front.configuration_path, qmail.command)
    assert findings.severities("backend") == findings.severities("backend-identity") == ["ok"], \
        findings.text
    for check in ("backend-open-relay", "backend-local-relay", "listener-open-relay"):
        assert not {"warning", "error"} & set(findings.severities(check)), findings.text
