"""Figures for other hosts: who may read them, and who is not let in."""

import http.client
import re
import socket

import pytest

from conftest import needs_root
from support import control, wait
from support.links import Namespace

#: Of the other hosts: one that may read, and one that may not; and Postern's own.
FRIEND, STRANGER, HERE = "192.0.2.7", "192.0.2.66", "198.51.100.1"
FRIEND_V6, STRANGER_V6 = "2001:db8::7", "2001:db8:1::66"
ALLOW = ["192.0.2.0/28", "2001:db8::/48"]


@pytest.fixture(scope="module")
def network():
    """A network with all of these addresses."""
    made = Namespace()
    for address in (FRIEND, STRANGER, HERE):
        made.run(f"ip address add {address}/32 dev lo")
    for address in (FRIEND_V6, STRANGER_V6):
        made.run(f"ip -6 address add {address}/128 dev lo nodad")
    yield made
    made.close()


@pytest.fixture
def open_to(start, backend, network):
    """open_to(address="*", **options) -> a Postern whose figures others may read, and the port."""
    def run(address="*", allow=ALLOW, **options):
        port = wait.free_port()
        admin = {"metrics": f"{address}:{port}", "allow": allow}
        return start(backend, command=network.command, admin=admin, **options), port
    return run


@pytest.fixture
def answer(network):
    """answer(port, source, target, host=None, …) -> HTTP status, or None where the connection is
    closed without a word."""
    def run(port, source, target="/metrics", host=None, headers=None):
        six = ":" in source
        with network.inside():
            connection = http.client.HTTPConnection(
                "::1" if six else HERE, port, timeout=wait.PATIENCE, source_address=(source, 0))
            try:
                connection.connect()
            except ConnectionResetError:
                return None
        try:
            connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or f"{HERE}:{port}")
            for each in (headers or {}).items():
                connection.putheader(*each)
            connection.endheaders()
            return connection.getresponse().status
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            return None
        finally:
            connection.close()
    return run


@needs_root
def test_hosts_that_are_allowed_read_figures_and_others_are_closed(open_to, answer):
    """Over both versions of IP, and with IPv4 on a socket for both."""
    postern, port = open_to(log={"level": "debug"})
    for source in (FRIEND, FRIEND_V6, "127.0.0.1", "::1"):
        assert answer(port, source) == 200, source
        assert answer(port, source, "/health") == 200, source
        assert answer(port, source, "/status") == 404, source
    for source in (STRANGER, STRANGER_V6):
        assert answer(port, source) is None, source
        assert answer(port, source, "/health") is None, source
        postern.wait_for_record(event="figures refused", level="debug", client=source)
    assert control.metrics(postern)["postern_figures_refused_total"] == 4


@needs_root
def test_loopback_address_with_allow_is_as_without(open_to, network):
    postern, port = open_to("127.0.0.1")
    with network.inside():
        assert control.request(postern, "/metrics", address=("127.0.0.1", port))[0] == 200


@needs_root
def test_reload_changes_who_may_read(open_to, answer):
    postern, port = open_to()
    assert (answer(port, FRIEND), answer(port, STRANGER)) == (200, None)
    postern.configure(admin={"metrics": f"*:{port}", "allow": [STRANGER]})
    postern.reload()
    assert (answer(port, FRIEND), answer(port, STRANGER)) == (None, 200)
    postern.configure(admin={"allow": []})
    assert any("admin: metrics" in error for error in postern.reload_refused())
    assert answer(port, STRANGER) == 200


@needs_root
def test_name_of_another_site_reads_nothing_from_an_allowed_host(open_to, answer):
    """A page whose name leads here, in a browser of a host that may read."""
    _, port = open_to()
    for host in ("rebound.example.org", f"rebound.example.org:{port}", "rebound", f"{HERE}.nip.example",
                 "mail.example.org.attacker.example", "mail.example.org.", "", "*", "["):
        assert answer(port, FRIEND, host=host or "\t") in (400, 403), host
    for host in (HERE, f"{HERE}:{port}", "mail.example.org", f"MAIL.example.org:{port}", "mail",
                 f"postern:{port}", f"[2001:db8::1]:{port}", f"localhost:{port}"):
        assert answer(port, FRIEND, host=host) == 200, host
    assert answer(port, FRIEND, headers={"Origin": "http://attacker.example"}) == 403
    assert answer(port, "127.0.0.1", host="mail.example.org") == 200
    assert answer(port, "127.0.0.1", host="rebound.example.org") == 403


@needs_root
def test_health_check_of_http_1_0_needs_no_host(open_to, network):
    """As HAProxy's httpchk makes it."""
    _, port = open_to()
    for source, line, status in ((FRIEND, b"GET /health HTTP/1.0", b"200"),
                                 (FRIEND, b"GET /health HTTP/1.1", b"403"),
                                 ("127.0.0.1", b"GET /health HTTP/1.0", b"200")):
        with network.inside():
            one = socket.create_connection((HERE, port), wait.PATIENCE, (source, 0))
        with one:
            one.sendall(line + b"\r\n\r\n")
            assert one.recv(12)[9:] == status, (source, line)


HOSTILE = [
    b"", b"\0", b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" + b"\xff" * 600,
    b"GET /metrics HTTP/1.1\r\nHost: " + b"a" * 9000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: rebound\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 18446744073709551615\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST /kick?user=alice HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    b"GET http://[::1/metrics HTTP/1.1\r\n\r\n", b"GET //metrics?%00 HTTP/1.1\r\nHost: ::1\r\n\r\n",
    b"CONNECT 127.0.0.1:25 HTTP/1.1\r\n\r\n", b"EHLO a\r\nMAIL FROM:<a@b.test>\r\n",
]


@needs_root
@pytest.mark.parametrize("source", [FRIEND, STRANGER], ids=["allowed", "stranger"])
def test_hostile_bytes_harm_nobody(open_to, network, answer, source):
    postern, port = open_to()
    reactor = postern.sole("reactor")
    for data in HOSTILE:
        with network.inside():
            one = socket.create_connection((HERE, port), wait.PATIENCE, (source, 0))
        with one:
            received = b""
            try:
                one.sendall(data)
                one.shutdown(socket.SHUT_WR)
                while piece := one.recv(65536):
                    received += piece
            except (ConnectionResetError, BrokenPipeError, OSError):
                pass
            assert b" 200 " not in received[:20], data
            assert source == FRIEND or received == b"", data
    assert answer(port, FRIEND) == 200
    assert postern.sole("reactor") == reactor


@needs_root
def test_strangers_do_not_keep_out_who_may_read(open_to, network, answer):
    """Nor take the place of one that asks slowly, however many of them come."""
    postern, port = open_to()
    with network.inside():
        slow = socket.create_connection((HERE, port), wait.PATIENCE, (FRIEND, 0))
    slow.sendall(b"GET /health HTTP/1.1\r\nHost: ")
    for _ in range(8):
        with network.inside():
            crowd = [socket.create_connection((HERE, port), wait.PATIENCE, (STRANGER, 0))
                     for _ in range(15)]
        for each in crowd:
            each.settimeout(wait.PATIENCE)
            try:
                assert each.recv(1) == b""
            except ConnectionResetError:
                pass
            each.close()
    assert answer(port, FRIEND) == 200
    slow.sendall(HERE.encode() + b"\r\n\r\n")
    assert slow.recv(12) == b"HTTP/1.1 200"
    slow.close()
    assert control.metrics(postern)["postern_figures_refused_total"] == 120


def test_networks_without_an_address_are_a_fault(start, backend):
    postern = start(backend)
    postern.configure(admin={"allow": ["192.0.2.0/24"]})
    error, *_ = postern.reload_refused()
    assert "admin: allow: is of no use" in error


def test_figures_for_everybody_are_warned_of(start, backend):
    postern = start(backend)
    postern.configure(admin={"metrics": f"127.0.0.1:{wait.free_port()}", "allow": ["0.0.0.0/0"]})
    postern.reload()
    postern.wait_for_record(level="warning", msg=re.compile("everybody may read the figures"))
