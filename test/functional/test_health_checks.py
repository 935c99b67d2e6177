"""Health checks of ordinary listeners: what looks whether a port answers does not fill the log."""

import pytest

from support import control, haproxy as haproxies, wait
from support.client import Client
from support.haproxy import HAProxy
from test_balancer import loud

CHECKER, OTHER = "127.0.0.77", "127.0.0.78"


@pytest.fixture
def checked(start, backend):
    """checked(**settings) -> a Postern whose ports CHECKER looks at."""
    def make(networks=("127.0.0.76/31",), **settings):
        addresses = {tls: ("127.0.0.1", wait.free_port()) for tls in ("implicit", "starttls", "either")}
        postern = start(backend, log={"level": "debug"}, listen={
            tls: {"address": "%s:%d" % address, "tls": tls, "health_checks": list(networks)}
            for tls, address in addresses.items()}, **settings)
        postern.addresses = addresses
        return postern
    return make


def ended(postern, level, count=1, **fields):
    return postern.wait_for_record(event="session ended", level=level, count=count, **fields)


def figures(postern):
    """Health checks, and what would tell a postmaster of clients with difficulties."""
    shown = control.metrics(postern)
    return (sum(value for name, value in shown.items() if name.startswith("postern_health_checks")),
            shown["postern_tls_handshake_failures_total"])


LEAVE = {"closes": Client.close, "breaks off": Client.reset, "ends its sending": Client.end_sending}


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("tls", ["implicit", "starttls", "either"])
def test_check_that_says_nothing_leaves_nothing_in_the_log(checked, tls, leave):
    postern = checked()
    before = len(loud(postern))
    with Client(postern.addresses[tls], source=CHECKER) as one:
        if tls == "starttls":
            one.greeting()
        LEAVE[leave](one)
        ended(postern, "debug", client=CHECKER)
    assert len(loud(postern)) == before
    assert figures(postern) == (1, 0)
    assert control.get(postern, "/failures")["failures"] == []


@pytest.mark.parametrize("leave", LEAVE)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_stranger_that_says_nothing_is_logged_as_before(checked, tls, leave):
    postern = checked()
    with Client(postern.addresses[tls], source=OTHER) as one:
        if tls == "starttls":
            one.greeting()
        LEAVE[leave](one)
        ended(postern, "info", client=OTHER)
    assert figures(postern) == (0, 1 if tls == "implicit" else 0)


def test_checks_that_speak_as_monitors_do_leave_nothing(checked):
    """A handshake and no word, EHLO and QUIT, STARTTLS and QUIT."""
    postern = checked()
    before = len(loud(postern))
    with Client(postern.addresses["implicit"], source=CHECKER) as one:
        one.handshake()
        one.greeting()
    ended(postern, "debug", 1)
    with Client(postern.addresses["starttls"], source=CHECKER) as one:
        one.greeting()
        one.ehlo()
        one.quit()
    ended(postern, "debug", 2)
    with Client(postern.addresses["starttls"], source=CHECKER) as one:
        one.greeting()
        one.ehlo()
        one.starttls()
        one.ehlo()
        one.quit()
    ended(postern, "debug", 3)
    assert len(loud(postern)) == before and figures(postern) == (3, 0)


def test_whoever_does_more_than_look_is_logged(checked):
    """A list of checkers hides no guesses, no mistakes and no mail."""
    postern = checked()
    for count, (password, code) in enumerate([("wrong", 535), ("wonderland", 235)], 1):
        with Client(postern.addresses["implicit"], source=CHECKER) as one:
            one.handshake()
            one.greeting()
            one.ehlo()
            one.login("alice", password, code)
            one.quit()
        ended(postern, "info", count, client=CHECKER)
    with Client(postern.addresses["starttls"], source=CHECKER) as one:
        one.greeting()
        one.ehlo()
        one.command("MAIL FROM:<a@b.test>", 530)
        one.quit()
    ended(postern, "info", 3, client=CHECKER)
    with Client(postern.addresses["implicit"], source=CHECKER) as one:
        one.send(b"EHLO plain.example\r\n")
        one.receive_rest()
    ended(postern, "info", 4, client=CHECKER)
    assert figures(postern) == (0, 1)


def test_client_that_waits_for_the_server_is_not_kept_waiting(checked):
    """Who is listed is still served: TLS begins with the client's first byte."""
    postern = checked()
    for tls in ("implicit", "either"):
        with Client(postern.addresses[tls], source=CHECKER) as one:
            one.handshake()
            one.greeting()
            one.ehlo()
            one.login("alice", "wonderland", 235)
            one.quit()


@pytest.mark.parametrize("words, more", [
    ("check inter 100", ("option smtpchk EHLO balancer.test",)),
    ("check check-ssl verify none inter 100", ())])
def test_health_checks_of_haproxy_leave_nothing_in_the_log(checked, scratch, words, more):
    """One that only connects resets the connection before this side hears of it."""
    postern = checked(networks=("127.0.0.1",))
    before = len(loud(postern))
    back = postern.addresses["implicit" if "check-ssl" in words else "starttls"]
    front = ("127.0.0.1", wait.free_port())
    proxy = HAProxy(scratch, haproxies.configuration(front, back, words, more), front)
    try:
        ended(postern, "debug", 5)
        assert proxy.status() == "UP"
        assert len(loud(postern)) == before
    finally:
        proxy.close()
