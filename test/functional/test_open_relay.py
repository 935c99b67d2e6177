"""No open relay: whoever has not logged in gets no mail to elsewhere, whatever the address looks
like, whichever door and whichever server behind it, though that would do it for this host."""

import tempfile

import pytest

from conftest import needs_root
from support import backend as backends
from support import example, relay_probe
from support.client import Client

#: Errors are what a probe is made of; it is not to end for their number.
PATIENT = {"limits": {"errors": 1000}}
ELSEWHERE = "user@elsewhere.test"


@pytest.fixture(params=["implicit", "starttls", None], ids=["implicit", "starttls", "plaintext"])
def way(request):
    return request.param


def would_relay(one):
    """So that it is for no other reason that nothing gets through."""
    with one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)
        one.command("RSET", 250)


def test_no_form_of_address_passes_without_a_login(start, backend, way):
    """The server behind would take everything from anybody."""
    front = start(backend, **PATIENT)
    assert relay_probe.probe(lambda: front.connect(way)) == {}
    assert not backend.sessions
    would_relay(front.log_in())


# Real servers, as they are found: permissive towards this host

class Postfix:
    def __init__(self, request):
        self.server = request.getfixturevalue("postfix_with")(
            mynetworks="127.0.0.0/8", smtpd_relay_restrictions="permit_mynetworks, reject")
        self.front = request.getfixturevalue("start")(self.server.address, **PATIENT)

    def direct(self):
        return Client(self.server.address, source=None)

    def saw_something(self):
        """A recipient, or a session that Postern gave up."""
        return "to=<" in self.server.log() or " RCPT from " in self.server.log()


class OpenSMTPD:
    def __init__(self, request):
        from support.opensmtpd import OpenSMTPD as Server
        self.smarthost = backends.Backend()
        self.server = Server(
            tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="opensmtpd-"),
            self.smarthost.address, **{"match from socket for any": "match from local for any"})
        request.addfinalizer(self.server.close)
        request.addfinalizer(self.smarthost.close)
        self.front = request.getfixturevalue("start")(None, **PATIENT, example=example.text(
            "opensmtpd/postern.conf", {"127.0.0.1:10025": "%s:%d" % self.server.front}))

    def direct(self):
        return Client(self.server.address, source=None)

    def saw_something(self):
        return "envelope" in self.server.log() or "failed-command" in self.server.log()


@needs_root
@pytest.mark.parametrize("server", [Postfix, OpenSMTPD])
def test_no_form_of_address_reaches_a_server_that_trusts_this_host(request, server, way):
    server = server(request)
    assert relay_probe.probe(lambda: server.front.connect(way)) == {}
    assert not server.saw_something()
    direct = server.direct()
    direct.greeting()
    direct.ehlo()
    would_relay(direct)
