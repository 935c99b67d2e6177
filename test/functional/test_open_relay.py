"""No open relay: whoever has not logged in gets no mail to elsewhere, whatever the address looks
like, whichever door and whichever server behind it, though that would do it for this host."""

import re

import pytest

from conftest import needs_root
from support import open_servers, relay_probe, wait
from support.client import Client
from support.open_servers import Anything, Postfix, UntoldPostfix

ELSEWHERE = "user@elsewhere.test"
ALL = {(form, sender) for form in relay_probe.FORMS for sender in relay_probe.SENDERS}
#: Some servers refuse the others at MAIL.
TAKEN_EVERYWHERE = {"nobody", "one of ours", "somebody else", "one who claims a login"}


def test_each_example_has_a_server_here():
    assert set(open_servers.EXAMPLES) == open_servers.examples()


@pytest.fixture(scope="module", params=[
    Anything, *(pytest.param(each, marks=needs_root) for each in
                (UntoldPostfix, *open_servers.EXAMPLES.values()))],
    ids=lambda each: each.__name__)
def server(request):
    made = request.param(request)
    with made.direct() as one:  # so that it is for no other reason that nothing gets through
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)
        one.command("RSET", 250)
    return made


@needs_root
def test_probe_finds_a_relay_where_there_is_one(request):
    """Postfix, asked from this host, without Postern."""
    def connect():
        made = Client(UntoldPostfix(request).server.address, source=None)
        made.greeting()
        return made
    found = {form for form, _ in relay_probe.probe(connect).taken}
    assert {"plain", "percent", "bang", "route through us", "trailing dot", "ORCPT of ours"} <= found


def nothing_passes(server, connect):
    """Every form is asked for, with every sender; none is taken, by Postern or behind it."""
    before = server.accepted()
    outcome = relay_probe.probe(connect)
    assert outcome.taken == {}
    assert set(outcome.asked) == ALL and len(outcome.asked) == len(ALL) > 90 * 6
    assert server.accepted() == before
    return outcome


# Doors

@pytest.mark.parametrize("way", ["implicit", "starttls", None])
def test_no_form_of_address_passes_without_a_login(start, server, way):
    front = server.front(start)
    assert not nothing_passes(server, lambda: front.connect(way)).begun
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)


def test_no_form_of_address_passes_an_mx_that_knows_its_recipients(start, server, way=None):
    """Everybody there is one of them, and the server behind would take anybody."""
    front = start_mx(start, server, recipients=["mail.test"])
    begun = nothing_passes(server, lambda: front.connect(way)).begun
    # Where MAIL is refused, nothing has been tried; who sends mail everywhere tries each form.
    assert {(form, sender) for form, sender in ALL if sender in TAKEN_EVERYWHERE} <= set(begun)
    with front.connect(way) as one:
        one.ehlo()
        one.command("MAIL FROM:<somebody@elsewhere.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)


@pytest.mark.parametrize("server", [Anything], indirect=True)
def test_no_form_of_address_passes_an_mx_behind_tls(start, server):
    test_no_form_of_address_passes_an_mx_that_knows_its_recipients(start, server, "starttls")


@needs_root
def test_nobody_is_this_host_at_an_mx_whose_server_decides(start, request):
    """Postfix is told where they come from: what it takes then is mail for its own domain, and
    none of it leaves; but it tells senders that some could not be delivered."""
    server = Postfix(request, mynetworks="127.0.0.1/32", mail_name="Its own")  # and its own log
    front = start_mx(start, server)
    before = len(server.server.log())
    outcome = relay_probe.probe(lambda: front.connect(None))
    assert ("plain", "nobody") not in outcome.taken and len(outcome.asked) == len(ALL)
    server.server.wait_for_empty_queue()
    log = server.server.log()[before:]
    left = re.findall(r"to=<([^>]*)>.*\(elsewhere\)$", log, re.MULTILINE)
    assert set(left) <= {"spammer@elsewhere.test", "root@localhost", "postmaster@backend.mail.test"}


def start_mx(start, server, **keys):
    port = wait.free_port()
    made = server.front(start, role="mx", listen={
        "mx": {"address": f"{server.host}:{port}", "role": "mx", **keys}})
    made.starttls = (server.host, port)
    return made
