"""No open relay: whoever has not logged in gets no mail to elsewhere, whatever the address looks
like, whichever door and whichever server behind it, though that would do it for this host."""

import re
import tempfile

import pytest

from conftest import needs_root
from support import backend as backends
from support import example, relay_probe, wait
from support.client import Client

#: Errors are what a probe is made of; it is not to end for their number.
PATIENT = {"limits": {"errors": 1000}}
ELSEWHERE = "user@elsewhere.test"


def begin(address):
    made = Client(address, source=None)
    made.greeting()
    made.ehlo()
    return made


def address(pair):
    return "%s:%d" % pair


# Servers as they are found: each would relay for everybody on this host. `settings` are those of
# the Postern before it; `direct()` is a client without Postern, where there is a port for it.

class Anything:
    """Takes everything from anybody."""

    def __init__(self, request):
        self.server = request.getfixturevalue("backend")
        self.settings = {"backend": {"address": self.server.address, "identity": "none"}}

    def accepted(self):
        return sum(line.startswith(b"RCPT") for each in self.server.sessions
                   for line in each.commands)

    def direct(self):
        host, port = self.server.address.split(":")
        return begin((host, int(port)))


class Postfix:
    def __init__(self, request, identity="none", **settings):
        self.server = request.getfixturevalue("postfix_with")(
            mynetworks="127.0.0.1/32", **settings,
            smtpd_relay_restrictions="permit_mynetworks, reject_unauth_destination")
        self.settings = {"backend": {"address": address(self.server.address),
                                     "identity": identity}}

    def accepted(self):
        return len(re.findall(r"qmgr\[\d+\]: \w+: from=", self.server.log()))

    def direct(self):
        return begin(self.server.address)


class OpenSMTPD:
    def __init__(self, request):
        from support.opensmtpd import OpenSMTPD as Server
        directory = tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="opensmtpd-")
        self.server = Server(directory, smarthost(request),
                             **{"match from socket for any": "match from local for any"})
        request.addfinalizer(self.server.close)
        self.accepted = self.server.accepted
        self.settings = {"example": example.text(
            "opensmtpd/postern.conf", {"127.0.0.1:10025": address(self.server.front)})}

    def direct(self):
        return begin(self.server.address)


class Exim:
    """It trusts whoever reaches its inner port."""

    def __init__(self, request):
        from support.exim import Exim as Server
        directory = tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="exim-")
        self.server = Server(directory, "proxy", smarthost(request))
        request.addfinalizer(self.server.close)
        self.accepted = self.server.accepted
        self.settings = {"example": example.text(
            "exim/proxy/postern.conf", {"127.0.0.1:10025": address(self.server.front)})}

    def direct(self):
        made = Client(self.server.front, source=None)
        made.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n")
        made.greeting()
        made.ehlo()
        return made


class Sendmail:
    """It takes every client of Postern's for this host."""

    def __init__(self, request):
        from support.sendmail import Sendmail as Server
        directory = tempfile.mkdtemp(dir=request.getfixturevalue("work"), prefix="sendmail-")
        self.server = Server(directory, "trace", smarthost(request), wait.free_port())
        request.addfinalizer(self.server.close)
        self.accepted = self.server.accepted
        self.settings = {"example": example.text(
            "sendmail/trace/postern.conf", {"127.0.0.1:25": address(self.server.address)})}

    def direct(self):
        return begin(self.server.address)


class Courier:
    """Its environment lets everybody relay."""

    def __init__(self, request):
        from support.courier import Courier as Server
        self.server = Server(tempfile.mkdtemp(dir=request.getfixturevalue("work"),
                                              prefix="courier-"))
        request.addfinalizer(self.server.close)
        self._finally = request.addfinalizer
        self.accepted = self.server.accepted
        self.settings = {"command": self.server.command, "example": example.text(
            "courier/postern.conf", {"/usr/sbin/courieresmtpd":
                                     "/usr/bin/env RELAYCLIENT= /usr/sbin/courieresmtpd"})}

    def direct(self):
        process, ours = self.server.esmtpd(
            TCPREMOTEIP="127.0.0.1", TCPREMOTEPORT="1", TCPLOCALIP="127.0.0.1", TCPLOCALPORT="25",
            RELAYCLIENT="")
        self._finally(process.wait)
        made = Client(ours)
        made.greeting()
        made.ehlo()
        return made


def smarthost(request):
    made = backends.Backend()
    request.addfinalizer(made.close)
    return made.address


@pytest.fixture(params=[Anything, *(pytest.param(each, marks=needs_root) for each in
                                    (Postfix, OpenSMTPD, Exim, Sendmail, Courier))])
def server(request):
    made = request.param(request)
    with made.direct() as one:  # so that it is for no other reason that nothing gets through
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)
        one.command("RSET", 250)
    return made


# Doors

@needs_root
def test_probe_finds_a_relay_where_there_is_one(request):
    """Postfix, asked from this host, without Postern."""
    def connect():
        made = Client(Postfix(request).server.address, source=None)
        made.greeting()
        return made
    found = {form for form, _ in relay_probe.probe(connect)}
    assert {"plain", "percent", "bang", "route through us", "trailing dot", "ORCPT of ours"} <= found


@pytest.mark.parametrize("way", ["implicit", "starttls", None])
def test_no_form_of_address_passes_without_a_login(start, server, way):
    front = start(None, **PATIENT, **server.settings)
    before = server.accepted()
    assert relay_probe.probe(lambda: front.connect(way)) == {}
    assert server.accepted() == before
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)


@pytest.mark.parametrize("way", ["starttls", None])
def test_no_form_of_address_passes_an_mx_that_knows_its_recipients(start, server, way):
    """Everybody there is one of them, and the server behind would take anybody."""
    front = start_mx(start, server, recipients=["mail.test"])
    before = server.accepted()
    assert relay_probe.probe(lambda: front.connect(way)) == {}
    assert server.accepted() == before
    with front.connect(way) as one:
        one.ehlo()
        one.command("MAIL FROM:<somebody@elsewhere.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)


@needs_root
def test_nobody_is_this_host_at_an_mx_whose_server_decides(start, request):
    """Postfix is told where they come from: what it takes then is mail for its own domain, and
    none of it leaves; but it tells senders that some could not be delivered."""
    server = Postfix(request, identity="xclient", mail_name="Its own")  # and its own log
    front = start_mx(start, server)
    before = len(server.server.log())
    taken = relay_probe.probe(lambda: front.connect(None))
    assert ("plain", "nobody") not in taken
    server.server.wait_for_empty_queue()
    log = server.server.log()[before:]
    left = re.findall(r"to=<([^>]*)>.*\(elsewhere\)$", log, re.MULTILINE)
    assert set(left) <= {"spammer@elsewhere.test", "root@localhost", "postmaster@backend.mail.test"}


def start_mx(start, server, **keys):
    port = wait.free_port()
    made = start(None, **PATIENT, **server.settings, listen={
        "mx": {"address": f"127.0.0.1:{port}", "role": "mx", **keys}})
    made.starttls = ("127.0.0.1", port)
    return made
