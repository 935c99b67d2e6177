"""HelloRetryRequest (RFC 8446 section 4.1.4): a client whose first key share is of a group that the
server does not take begins its handshake twice. Nothing may be said before there are keys."""

import contextlib
import pathlib
import ssl
import tempfile

import pytest

from support import tap, wait
from support.backend import Backend
from support.client import Client, context
from support.postern import Postern
from support.tls_clients import CLIENTS
from test_client_certificates import Authority
from test_tls import shake_hands_but_the_last_word, versions

GREETING = b"220 mail.example.org"

#: Server's groups ("" is the default) and the client's first key share ("" is its own).
CASES = (("P-256:P-384", ""), ("P-384", ""), ("", "P-521"), ("", "X448"), ("", "ffdhe2048"))
PORTS = ("implicit", "either", "starttls")


class Servers:
    """A Postern for each set of groups, with and without tickets: each has all kinds of ports, with
    and without client certificates."""

    def __init__(self, work, certificates, pam):
        self._work, self._certificates, self._pam = work, certificates, pam
        self._backend = Backend()
        self._running = {}
        self.authority = Authority(pathlib.Path(tempfile.mkdtemp(dir=work)) / "authority")
        self.robot = self.authority.issue("robot")

    def address(self, groups, port, tickets=True, asked=False):
        if (groups, tickets) not in self._running:
            self._running[groups, tickets] = self._start(groups, tickets)
        return self._running[groups, tickets][port, asked]

    def _start(self, groups, tickets):
        addresses, listen = {}, {}
        for port in PORTS:
            for asked in False, True:
                address = addresses[port, asked] = ("127.0.0.1", wait.free_port())
                listen[f"{port}-{asked}"] = {"address": "%s:%d" % address, "tls": port}
                if asked:
                    listen[f"{port}-{asked}"] |= {"client_certificates": "require",
                                                  "client_ca": self.authority.certificate}
        addresses["server"] = Postern(
            tempfile.mkdtemp(dir=self._work), self._certificates, self._pam,
            self._backend.address, listen=listen,
            tls={"tickets": tickets, **({"groups": groups} if groups else {})})
        return addresses

    def close(self):
        for addresses in self._running.values():
            addresses["server"].stop()
        self._backend.close()


@pytest.fixture(scope="module")
def servers(work, certificates, pam_services):
    with contextlib.closing(Servers(work, certificates, pam_services)) as made:
        yield made


def visit(servers, client, groups, share, port, **options):
    """A session of a real client's, with all that the server says looked at."""
    pair = servers.robot if options.get("asked") else ()
    kind = "starttls" if port == "starttls" else "implicit"
    run, _ = CLIENTS[client]
    directory = servers._work / "clients"
    directory.mkdir(exist_ok=True)
    with tap.Tap(servers.address(groups, port, **options)) as wire:
        run(directory, wire.address, kind, share, pair)
    early = tap.before_keys(wire.tls())
    assert any(tap.is_retry(content) for _, content in early), "the client was not told to retry"
    assert {kind for kind, _ in early} <= {tap.HANDSHAKE, tap.CHANGE_CIPHER_SPEC}
    assert GREETING not in wire.tls()


def cases(clients=CLIENTS):
    return [pytest.param(client, groups, share, port,
                         id=f"{client}-{groups or 'default'}-{share or 'X25519'}-{port}")
            for client in clients for groups, share in CASES if share in CLIENTS[client][1]
            for port in PORTS]


@pytest.mark.parametrize("client, groups, share, port", cases())
def test_client_whose_first_group_is_not_taken_gets_its_session(servers, client, groups, share,
                                                                port):
    visit(servers, client, groups, share, port)


@pytest.mark.parametrize("client, groups, share, port", cases(("openssl", "go")))
def test_such_a_client_gets_its_session_where_there_are_no_tickets(servers, client, groups, share, port):
    visit(servers, client, groups, share, port, tickets=False)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("tickets", [True, False])
def test_client_shows_its_certificate_after_a_retry(servers, client, port, tickets):
    visit(servers, client, "P-384", "", port, tickets=tickets, asked=True)


def test_session_is_resumed_after_a_retry(servers):
    """The client sends its ticket with both of its hellos; and gets another ticket."""
    address = servers.address("P-384", "implicit")
    settings = versions(ssl.TLSVersion.TLSv1_3)
    session = None
    for visits in range(3):
        with tap.Tap(address) as wire:
            with Client(wire.address, tls=True, source=None, tls_context=settings,
                        session=session) as one:
                one.greeting()
                one.ehlo()
                assert one.tls.session_reused == (visits > 0)
                session = one.session_ticket()
                one.quit()
        assert any(tap.is_retry(content) for _, content in tap.before_keys(wire.tls()))
        assert GREETING not in wire.tls()


@pytest.mark.parametrize("port", ["implicit", "either"])
def test_retry_alone_is_answered_with_no_data(servers, port):
    """A client that sends its first hello and nothing else is told to retry, and hears no word."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context().wrap_bio(incoming, outgoing).do_handshake()
    with Client(servers.address("P-384", port)) as one:
        one.send(outgoing.read())
        one.end_sending()
        said = one.receive_rest()
    kinds = [kind for kind, _ in tap.records(said)]
    assert kinds[:1] == [tap.HANDSHAKE] and tap.is_retry(tap.records(said)[0][1])
    assert tap.DATA not in kinds and GREETING not in said


def test_greeting_still_comes_within_a_handshake_without_a_retry(servers):
    """And its text is not on the wire."""
    class Served:
        implicit = servers.address("", "implicit")
    with tap.Tap(Served.implicit) as wire:
        Served.implicit = wire.address
        tls, _, _, connected = shake_hands_but_the_last_word(Served,
                                                             versions(ssl.TLSVersion.TLSv1_3))
        assert tls.read(4096) == GREETING + b" ESMTP\r\n"
        connected.close()
    assert GREETING not in wire.tls()
