"""Postern in front of Debian's Courier, both as etc/examples/courier has them."""

import contextlib
import os
import signal
import tempfile
import uuid

import pytest

from conftest import needs_root
from support import behind, example, processes, systemd, wait
from support.behind import mail
from support.client import Client
from support.doctor import examine

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"


@pytest.fixture(scope="module")
def courier(work):
    from support.courier import Courier
    made = Courier(tempfile.mkdtemp(dir=work, prefix="courier-"))
    yield made
    made.close()


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


@pytest.fixture
def front(start, courier):
    """Postern with the example's configuration, where Courier's files are."""
    return start(None, example=example.text("courier/postern.conf", {}), command=courier.command)


# Courier alone: what its environment says

@pytest.fixture
def direct(courier):
    """direct(NAME="value") -> a client of an esmtpd of its own."""
    running = []

    def begin(**environment):
        process, ours = courier.esmtpd(
            TCPREMOTEIP="203.0.113.9", TCPREMOTEPORT="50000", TCPREMOTEHOST="laptop.example",
            TCPLOCALIP="127.0.0.1", TCPLOCALPORT="587", **environment)
        made = Client(ours)
        running.append((process, made))
        made.greeting()
        made.ehlo()
        return made
    yield begin
    for process, client in running:
        client.close()
        process.wait(20)


def test_courier_shows_whom_the_environment_names(courier, direct, subject):
    one = direct(TCPREMOTEINFO="alice", RELAYCLIENT="")
    one.send_message("alice@mail.test", ["bob@mail.test", ELSEWHERE], mail(subject))
    queued = courier.wait_for_message(subject)
    assert (queued.sender, queued.recipients) == ("alice@mail.test", ["bob@mail.test", ELSEWHERE])
    trace = queued.message.partition(b"\n  by ")[0].decode()
    assert "(laptop.example [203.0.113.9])" in trace and "(IDENT: alice)" in trace
    assert queued.notes["O"] == ["RELAYCLIENT=", "TCPREMOTEIP=203.0.113.9"]
    courier.syslog.wait_for(r"started,ip=\[203\.0\.113\.9\],port=\[50000\]$")


def test_courier_without_relayclient_relays_for_nobody(courier, direct, subject):
    one = direct()
    one.command("MAIL FROM:<somebody@elsewhere.test>", 250)
    one.command(f"RCPT TO:<{ELSEWHERE}>", 513)
    one.command("RSET", 250)
    one.send_message("somebody@elsewhere.test", ["bob@mail.test"], mail(subject))
    assert courier.wait_for_message(subject).recipients == ["bob@mail.test"]


# Behind Postern

def test_courier_shows_address_port_name_and_login(start, courier, nameserver, subject):
    """The name where it is asked for and leads back. The port stands in its log."""
    nameserver.names["127.0.0.42"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.42"
    front = start(None, nameservers=[nameserver.address], command=courier.command,
                  example=example.text("courier/postern.conf", {
                      'identity    = "program"': 'identity = "program"  resolve = true'}))
    with front.log_in(source="127.0.0.42") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
    trace = courier.delivered(subject).partition(b"\n  by ")[0].decode()
    assert trace == "Received: from client.example (laptop.example.org [127.0.0.42])\n" \
        "  (IDENT: alice, SSL: TLSv1.3)"
    courier.syslog.wait_for(rf"started,ip=\[127\.0\.0\.42\],port=\[{one.port}\]$")


def test_courier_shows_the_address_of_whoever_has_no_name(front, courier, subject):
    with front.log_in(source="127.0.0.43") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
    assert courier.delivered(subject).startswith(
        b"Received: from client.example ([127.0.0.43])\n  (IDENT: alice, SSL: TLSv1.3)\n")


def test_courier_takes_mail_with_the_rights_of_the_example(start, courier, subject):
    with start(None, example=example.text("courier/postern.conf", {}), command=[
            *courier.command, *systemd.rights(example.drop_in("courier"))]).log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert courier.delivered(subject)


def test_courier_relays_for_whoever_has_logged_in(front, courier, subject):
    with front.log_in() as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
    assert courier.wait_for_message(subject).recipients == [ELSEWHERE]


def test_no_esmtpd_runs_for_who_has_not_logged_in(front, courier):
    before = courier.accepted()
    with front.connect() as one:
        one.ehlo()
        one.command("MAIL FROM:<alice@mail.test>", 530)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 530)
        wait.until(lambda: not esmtpds(front), "the end of the probe")
        one.quit()
    assert courier.accepted() == before


def test_courier_gets_20_megabytes_whole(front, courier, subject):
    behind.large_message_arrives_whole(front, courier, subject)


def test_courier_loses_nothing_that_is_pipelined(front, courier, subject):
    """Without Postern it forgets what comes together with the end of a message."""
    with front.log_in() as one:
        assert "PIPELINING" in one.ehlo()
    behind.pipelined_commands_are_answered_in_order(front, courier, subject)


def test_threat_07_nothing_is_smuggled_to_courier(front, courier, subject):
    behind.no_second_message_is_smuggled(front, courier, subject)


def test_outage_of_courier_loses_and_doubles_nothing(front, courier, subject):
    """Its esmtpd dies; the next session gets another."""
    def fail():
        for pid in esmtpds(front):  # that of the first probe may be there still
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, courier, subject, fail=fail, recover=lambda: None)


def esmtpds(front):
    """Pids of those that Postern has started."""
    return [pid for pid in processes.descendants(front.pid)
            if processes.title(pid).startswith("/usr/sbin/courieresmtpd")]


def test_doctor_finds_the_example_good(front, courier):
    findings = examine(front.configuration_path, courier.command)
    assert findings.severities("backend") == findings.severities("backend-identity") == ["ok"], \
        findings.text
    for check in ("backend-open-relay", "backend-local-relay", "listener-open-relay"):
        assert not {"warning", "error"} & set(findings.severities(check)), findings.text
