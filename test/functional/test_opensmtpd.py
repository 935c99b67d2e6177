"""Postern in front of Debian's OpenSMTPD, both as etc/examples/opensmtpd has them."""

import tempfile
import uuid

import pytest

from conftest import needs_root
from support import backend as backends
from support.client import Client, Closed

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"


@pytest.fixture(scope="module")
def smarthost():
    """Where OpenSMTPD sends what is not for mail.test."""
    made = backends.Backend()
    yield made
    made.close()


@pytest.fixture(scope="module")
def opensmtpd(work, smarthost):
    from support.opensmtpd import OpenSMTPD
    made = OpenSMTPD(tempfile.mkdtemp(dir=work, prefix="opensmtpd-"), smarthost.address)
    yield made
    made.close()


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


def mail(subject, body="x\r\n"):
    return f"Subject: {subject}\r\n\r\n{body}".encode()


def proxy_header(address):
    """Version 2, from an address to loopback."""
    return (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(map(int, address.split(".")))
            + bytes([127, 0, 0, 1]) + (50000).to_bytes(2, "big") + (25).to_bytes(2, "big"))


def direct(address, header=b""):
    made = Client(address, source=None)
    made.send(header)
    made.greeting()
    made.ehlo()
    return made


# OpenSMTPD alone: the configuration does what its page says

def test_opensmtpd_believes_whoever_reaches_its_inner_port(opensmtpd, smarthost, subject):
    with direct(opensmtpd.front, proxy_header("203.0.113.9")) as one:
        one.send_message("alice@mail.test", ["bob@mail.test", ELSEWHERE], mail(subject))
    assert b"[203.0.113.9]" in opensmtpd.maildir.wait_for(subject)
    opensmtpd.wait_for_log(r"smtp connected address=203\.0\.113\.9 ")
    relayed(smarthost, subject)


def test_opensmtpd_drops_who_does_not_say_where_from(opensmtpd):
    with Client(opensmtpd.front, source=None) as one:
        one.send("PROXY TCP4 203.0.113.9 127.0.0.1 50000 25\r\nEHLO x\r\n")
        with pytest.raises((Closed, ConnectionError)):
            one.greeting()


def test_opensmtpd_relays_for_nobody_else(opensmtpd, subject):
    with direct(opensmtpd.address) as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
        one.command("RSET", 250)
        one.send_message("somebody@elsewhere.test", ["bob@mail.test"], mail(subject))
    opensmtpd.maildir.wait_for(subject)


def relayed(smarthost, subject):
    """The message, as it came to the smarthost: once."""
    def find():
        return [message for each in list(smarthost.connections) for message in each.messages
                if subject.encode() in message]
    (found,) = smarthost.wait(find, f"nothing relayed with the subject {subject!r}")
    return found
