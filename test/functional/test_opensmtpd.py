"""Postern in front of Debian's OpenSMTPD, both as etc/examples/opensmtpd has them."""

import re
import tempfile
import uuid

import pytest

from conftest import needs_root
from support import backend as backends
from support import behind, example, wait
from support.behind import mail
from support.client import Client, Closed
from support.doctor import examine

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"


@pytest.fixture(scope="module")
def smarthost():
    """Where OpenSMTPD sends what is not for mail.test."""
    made = backends.Backend()
    yield made
    made.close()


#: OpenSMTPD tells filters from which port somebody comes, and does not log it; it logs what a
#: filter says. This one says all that it is told.
FILTER = r"""filter "watch" proc-exec "/bin/sh -c \"printf \
'register|report|smtp-in|link-connect\nregister|ready\n'; exec cat >&2\""
"""


@pytest.fixture(scope="module")
def opensmtpd(work, smarthost):
    from support.opensmtpd import OpenSMTPD
    made = OpenSMTPD(tempfile.mkdtemp(dir=work, prefix="opensmtpd-"), smarthost.address, **{
        "proxy-v2 tag FRONT": 'proxy-v2 tag FRONT filter "watch"',
        "table aliases": FILTER + "table aliases"})
    yield made
    made.close()


@pytest.fixture
def front(start, opensmtpd):
    """Postern with the example's configuration."""
    return start(None, example=example.text(
        "opensmtpd/postern.conf", {"127.0.0.1:10025": "%s:%d" % opensmtpd.front}))


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


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
    opensmtpd.wait_for_log(r"\|link-connect\|.*\|203\.0\.113\.9:50000\|")
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


# Behind Postern

def test_opensmtpd_sees_address_port_and_login(front, opensmtpd, subject):
    """The address in its log and trace field, the port where its filters are told, the login in
    Postern's trace field."""
    with front.log_in(source="127.0.0.41") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        port = one.port
    opensmtpd.wait_for_log(r"smtp connected address=127\.0\.0\.41 ")
    opensmtpd.wait_for_log(rf"\|link-connect\|.*\|127\.0\.0\.41:{one.port}\|")
    head = opensmtpd.delivered(subject).partition(b"\n\n")[0].decode()
    theirs, ours = re.findall(r"^Received: .*(?:\n[ \t].*)*", head, re.MULTILINE)
    assert re.match(r"Received: from client\.example \(.*\[127\.0\.0\.41\]\)", theirs)
    assert "[127.0.0.41]" in ours and "authenticated as alice" in ours
    assert front.find_records(port=str(port), user="alice")


def test_opensmtpd_relays_for_whoever_has_logged_in(front, smarthost, subject):
    with front.log_in() as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
    relayed(smarthost, subject)


def test_opensmtpd_hears_nothing_of_who_has_not_logged_in(front, opensmtpd):
    """But that Postern is there, which looks once what it offers."""
    connected = "smtp connected address=127.0.0.49 "
    with front.connect(source="127.0.0.49") as one:
        one.ehlo()
        one.command("MAIL FROM:<alice@mail.test>", 530)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 530)
        one.quit()
    with front.log_in(source="127.0.0.49"):
        opensmtpd.wait_for_log(connected)
    assert opensmtpd.log().count(connected) == 1


def test_opensmtpd_gets_20_megabytes_whole(front, opensmtpd, subject):
    behind.large_message_arrives_whole(front, opensmtpd, subject)


def test_opensmtpd_never_sees_what_a_client_pipelines(front, opensmtpd, subject):
    """It offers no PIPELINING, and ends sessions of those who do it nevertheless."""
    wait.until(lambda: "DSN" in front.connect().ehlo(), "OpenSMTPD's offer")
    assert "PIPELINING" not in front.connect().ehlo()
    behind.pipelined_commands_are_answered_in_order(front, opensmtpd, subject)


def test_threat_07_nothing_is_smuggled_to_opensmtpd(front, opensmtpd, subject):
    behind.no_second_message_is_smuggled(front, opensmtpd, subject)


def test_outage_of_opensmtpd_loses_and_doubles_nothing(front, opensmtpd, subject):
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, opensmtpd, subject, fail=opensmtpd.stop, recover=opensmtpd.start)


def test_doctor_finds_the_example_good(front):
    findings = examine(front.configuration_path)
    assert findings.severities("backend") == findings.severities("backend-identity") == ["ok"], \
        findings.text
    for check in ("backend-open-relay", "backend-local-relay", "listener-open-relay"):
        assert not {"warning", "error"} & set(findings.severities(check)), findings.text
