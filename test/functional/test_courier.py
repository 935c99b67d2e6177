"""Postern in front of Debian's Courier, both as etc/examples/courier has them."""

import tempfile
import uuid

import pytest

from conftest import needs_root
from support.client import Client

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


def mail(subject, body="x\r\n"):
    return f"Subject: {subject}\r\n\r\n{body}".encode()


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


def test_courier_without_relayclient_relays_for_nobody(courier, direct, subject):
    one = direct()
    one.command("MAIL FROM:<somebody@elsewhere.test>", 250)
    one.command(f"RCPT TO:<{ELSEWHERE}>", 513)
    one.command("RSET", 250)
    one.send_message("somebody@elsewhere.test", ["bob@mail.test"], mail(subject))
    assert courier.wait_for_message(subject).recipients == ["bob@mail.test"]
