"""Behind a load balancer: the client is who the PROXY header says, if its sender may say so."""

import select
import socket
import struct

import pytest

from conftest import needs_root
from support import control, dns, example, haproxy as haproxies, wait
from support.backend import Backend
from support.client import Client
from support.haproxy import HAProxy
from support.links import Namespace

BALANCER = "127.0.0.88"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture
def balanced(start, backend):
    """balanced(**settings) -> a Postern that believes BALANCER, or `peers`, on both ports."""
    def make(peers=(BALANCER,), listen=None, **settings):
        implicit, starttls = (("127.0.0.1", wait.free_port()) for _ in range(2))
        more = listen or {}
        listen = {name: {"address": "%s:%d" % address, "tls": tls, "proxy_protocol": list(peers),
                         **more}
                  for name, address, tls in (("submissions", implicit, "implicit"),
                                             ("submission", starttls, "starttls"))}
        postern = start(backend, listen=listen, **{"log": {"level": "debug"}, **settings})
        postern.implicit, postern.starttls = implicit, starttls
        return postern
    return make


def line(source="203.0.113.9", port=40000, destination="198.51.100.1", destination_port=465):
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} {port} {destination_port}\r\n".encode()


def block(source="203.0.113.9", port=40000, destination="198.51.100.1", destination_port=465,
          tlvs=b"", command=0x21):
    af, family = (socket.AF_INET6, 0x21) if ":" in source else (socket.AF_INET, 0x11)
    body = socket.inet_pton(af, source) + socket.inet_pton(af, destination) \
        + struct.pack("!HH", port, destination_port) + tlvs
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(body)) + body


def local(tlvs=b""):
    return SIGNATURE + b"\x20\0" + struct.pack("!H", len(tlvs)) + tlvs


def connected(postern, header, tls="implicit", source=BALANCER):
    """A client behind its header, and behind the greeting."""
    one = Client(postern.implicit if tls == "implicit" else postern.starttls, source=source)
    one.send(header)
    if tls == "implicit":
        one.handshake()
    one.greeting()
    return one


def use(one, tls="implicit"):
    """A login, a message and QUIT."""
    one.ehlo()
    if tls == "starttls":
        one.starttls()
        one.ehlo()
    one.login("alice", "wonderland")
    one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    one.quit()


HEADERS = {
    "v1": line(),
    "v2": block(),
    "v2 with TLVs": block(tlvs=b"\x01\0\x04smtp\x04\0\0"),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_client_is_who_the_balancer_announces(balanced, backend, header, tls):
    postern = balanced()
    with connected(postern, HEADERS[header], tls) as one:
        use(one, tls)
    record = postern.wait_for_record(event="session ended", user="alice")
    assert (record["client"], record["port"]) == ("203.0.113.9", "40000")
    identity = backend.session().identity
    assert (identity["ADDR"], identity["PORT"]) == ("203.0.113.9", "40000")
    assert (identity["DESTADDR"], identity["DESTPORT"]) == ("198.51.100.1", "465")


def test_client_with_an_ipv6_address(balanced, backend):
    postern = balanced()
    with connected(postern, block("2001:db8::9", destination="2001:db8::1")) as one:
        use(one)
    assert backend.session().identity["ADDR"] == "IPV6:2001:db8::9"


def test_modules_are_told_the_announced_address(balanced, pam, scratch):
    """Threat 16: PAM_RHOST."""
    recorded = pam.recorded(scratch)
    with connected(balanced(auth={"pam_service": "recorded"}), line()) as one:
        use(one)
    assert "rhost=203.0.113.9 " in recorded.read_text()


def test_name_that_is_looked_up_is_the_announced_clients(balanced, backend):
    nameserver = dns.NameServer()
    try:
        nameserver.names["203.0.113.9"] = "laptop.example.org"
        nameserver.addresses["laptop.example.org"] = "203.0.113.9"
        postern = balanced(nameservers=[nameserver.address], backend={"resolve": True})
        with connected(postern, line()) as one:
            use(one)
        assert backend.session().identity["NAME"] == "laptop.example.org"
    finally:
        nameserver.close()


def test_header_may_come_byte_by_byte(balanced):
    """And TLS begins in the packet that ends it."""
    postern = balanced()
    for header in HEADERS.values():
        with Client(postern.implicit, source=BALANCER) as one:
            for at in range(len(header) - 1):
                one.send(header[at:at + 1])
            one.handshake(before=header[-1:])
            one.greeting()
            use(one)


def test_peer_that_is_not_listed_is_not_believed(balanced, backend):
    """Threats 4 and 19: what it sends is a command, and an error; it is served as itself."""
    postern = balanced()
    with Client(postern.starttls) as one:
        one.greeting()
        assert one.command(line()[:-2], 550).status == "5.7.1"
        use(one, "starttls")
    assert postern.session_record(one)["client"] == "127.0.0.9"
    assert backend.session().identity["ADDR"] == "127.0.0.9"
    with Client(postern.implicit) as one:
        one.send(block())
        assert b"220" not in one.receive_rest()
    with postern.log_in() as one:
        one.quit()


BROKEN = {
    "no header": b"EHLO client.example\r\n",
    "TLS without a header": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower case": line().lower(),
    "line without an end": b"PROXY UNKNOWN " + b"x" * 200,
    "bare line feed": line()[:-2] + b"\n",
    "leading zeros": line(source="203.0.113.09"),
    "port too large": line(port=65536),
    "another version": SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    "another command": SIGNATURE + b"\x2f\x11\0\x0c" + bytes(12),
    "address cut short": SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
    "oversized": SIGNATURE + b"\x21\x11\xff\xff" + bytes(12),
    "TLV beyond the header": block(tlvs=b"\x01\0\x05smtp"),
    "wrong checksum": block(tlvs=b"\x03\0\x04\0\0\0\0"),
}


@pytest.mark.parametrize("header", BROKEN)
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_broken_header_closes(balanced, backend, header, tls):
    """Threat 19: nothing is said, no client is made up, and the log says why."""
    postern = balanced()
    with Client(postern.implicit if tls == "implicit" else postern.starttls,
                source=BALANCER) as one:
        one.send(BROKEN[header])
        assert one.receive_rest() == b""
    record = postern.session_record(one)
    assert record["end"] == "not a PROXY header" and record["level"] == "info"
    assert not backend.sessions
    with connected(postern, line()) as one:
        use(one)


def test_truncated_header_is_not_waited_for_longer_than_a_handshake(balanced):
    """Threats 19 and 23."""
    postern = balanced(timeouts={"handshake": 1})
    for header in (line()[:20], block()[:20], b""):
        with Client(postern.starttls, source=BALANCER) as one:
            one.send(header)
            assert one.receive_rest() == b""
        assert postern.session_record(one)["end"] == "no PROXY header in time"
        with Client(postern.starttls, source=BALANCER) as one:
            one.send(header)
            one.close()
            if header:
                assert postern.session_record(one)["level"] == "info"


def test_silent_client_behind_a_header_is_not_waited_for(balanced):
    postern = balanced(timeouts={"handshake": 1})
    with Client(postern.implicit, source=BALANCER) as one:
        one.send(line(port=40001))
        assert one.receive_rest() == b""
    record = postern.wait_for_record(event="session ended", port="40001")
    assert (record["end"], record["level"]) == ("no TLS handshake in time", "info")


def test_limit_for_an_address_is_the_announced_one(balanced):
    """Threat 23: one client does not shut the others out, nor have more than its share."""
    postern = balanced(limits={"connections_per_address": 2})
    crowd = [connected(postern, line(f"203.0.113.{n // 2}", 41000 + n), "starttls")
             for n in range(8)]
    with Client(postern.starttls, source=BALANCER) as one:
        one.send(line("203.0.113.1", 42000))
        assert one.reply(421).status == "4.7.0"
        one.expect_closed()
    with Client(postern.implicit, source=BALANCER) as one:
        one.send(line("203.0.113.1", 42001))
        assert one.receive_rest() == b""
    assert postern.wait_for_record(event="session ended", port="42001")["end"] == \
        "too many connections from this address"
    crowd[2].quit()
    postern.wait_for_record(event="session ended", port="41002")
    with connected(postern, line("203.0.113.1", 42002)) as one:
        use(one)
    for one in crowd:
        one.close()
    with connected(postern, line("203.0.113.1", 42003)) as one:
        use(one)


def test_exempt_address_is_an_announced_one_where_the_listener_says_so(balanced):
    """Webmail comes through the balancer like everybody else."""
    postern = balanced(limits={"connections_per_address": 2},
                       listen={"proxy_exempt": ["203.0.113.0/29"]})
    webmail = [connected(postern, line("203.0.113.1", 43000 + n)) for n in range(4)]
    others = [connected(postern, line("203.0.113.9", 43100 + n)) for n in range(2)]
    with Client(postern.starttls, source=BALANCER) as third:
        third.send(line("203.0.113.9", 43200))
        assert third.reply(421).status == "4.7.0"
    for one in webmail + others:
        one.command("NOOP", 250)
        one.close()


#: Whom a balancer can name that is not limited when it connects by itself.
UNLIMITED = {"127.0.0.1": {}, "::1": {}, "::ffff:127.0.0.1": {},
             "203.0.113.9": {"exempt": ["203.0.113.0/24"]}}


@pytest.mark.parametrize("source", UNLIMITED)
@pytest.mark.parametrize("form", [line, block])
def test_balancer_cannot_free_its_clients_from_limits(balanced, source, form):
    """Threat 23: an address is exempt because the postmaster knows whose it is, which nobody
    does of one that was announced."""
    postern = balanced(limits={"connections_per_address": 2, **UNLIMITED[source]})
    destination = "2001:db8::1" if ":" in source else "198.51.100.1"
    crowd = [connected(postern, form(source, 45000 + n, destination), "starttls")
             for n in range(2)]
    with Client(postern.starttls, source=BALANCER) as one:
        one.send(form(source, 45100, destination))
        assert one.reply(421).status == "4.7.0"
        one.expect_closed()
    for one in crowd:
        one.close()


def guess(postern, header):
    with connected(postern, header) as one:
        one.ehlo()
        return one.login("mallory", "wrong", 535, 454).code


#: This host, or nobody.
LOCAL = {"127.0.0.1": line("127.0.0.1"), "::1": block("::1", destination="::1"),
         "LOCAL": local(), "UNKNOWN": b"PROXY UNKNOWN\r\n"}


@pytest.mark.parametrize("source", LOCAL)
def test_balancer_cannot_free_its_clients_from_counted_guesses(balanced, source):
    """Nor can one that names nobody, and so is the client itself, at an address of this host."""
    postern = balanced(limits={"failed_logins": 2}, auth={"failure_delay": 0})
    assert [guess(postern, LOCAL[source]) for _ in range(3)] == [535, 535, 454]


def test_announced_guesses_are_not_counted_where_the_listener_says_so(balanced):
    postern = balanced(limits={"failed_logins": 2}, auth={"failure_delay": 0},
                       listen={"proxy_exempt": ["127.0.0.1"]})
    assert [guess(postern, line("127.0.0.1")) for _ in range(3)] == [535] * 3


def test_who_connects_by_itself_is_exempt_as_before(balanced):
    """The listener's own list is about those who are announced there."""
    postern = balanced(limits={"failed_logins": 2}, auth={"failure_delay": 0, "attempts": 100},
                       listen={"proxy_exempt": ["203.0.113.9"]})
    with postern.connect(source="127.0.0.9") as one:
        one.ehlo()
        for number in range(4):
            one.login("mallory", f"wrong {number}", 535)


def test_balancer_cannot_free_strangers_from_their_share(start, backend):
    """Threat 42: at an mx."""
    port = wait.free_port()
    postern = start(backend, limits={"mx_sessions_per_address": 1}, listen={
        "mx": {"address": f"127.0.0.1:{port}", "role": "mx", "recipients": ["example.org"],
               "proxy_protocol": [BALANCER]}})
    postern.starttls = ("127.0.0.1", port)
    held = connected(postern, line("127.0.0.1"), "starttls")
    held.ehlo()
    held.command("MAIL FROM:<a@sender.example>", 250)
    with connected(postern, line("127.0.0.1", 40001), "starttls") as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 421)
    held.quit()


def test_exempt_clients_of_no_balancer_are_a_fault(start, backend):
    postern = start(backend)
    postern.configure(listen={"submission": {"address": "%s:%d" % postern.starttls,
                                             "proxy_exempt": ["203.0.113.9"]}})
    assert any("proxy_exempt: is of no use" in each for each in postern.reload_refused())


@pytest.fixture
def elsewhere():
    """A network with a load balancer that is not of Postern's host."""
    made = Namespace()
    made.run("ip address add 192.0.2.1/32 dev lo")
    yield made
    made.close()


#: Addresses that mean another host when another host says them, or none.
NO_CLIENTS = {"127.0.0.1": line("127.0.0.1"), "::1": block("::1", destination="::1"),
              "::ffff:127.0.0.1": block("::ffff:127.0.0.1", destination="::1"),
              "0.0.0.0": line("0.0.0.0"), "::": block("::", destination="::1")}


@needs_root
@pytest.mark.parametrize("source", NO_CLIENTS)
def test_another_hosts_loopback_address_is_not_this_hosts(start, elsewhere, source):
    """The mail server would relay for it as for its own host, and an order of the postmaster's
    about this host would let it in."""
    with elsewhere.inside():
        backend = Backend()
    port = wait.free_port()
    mx = wait.free_port()
    try:
        postern = start(backend, command=elsewhere.command, listen={
            "submission": {"address": f"127.0.0.1:{port}", "proxy_protocol": ["192.0.2.1"]},
            "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"],
                   "proxy_protocol": ["192.0.2.1"]}})
        control.post(postern, "/permit?address=127.0.0.1&user=printer&for=10m")
        control.post(postern, "/permit?address=::1&user=printer&for=10m")
        with elsewhere.inside():
            one = Client(("127.0.0.1", port), source="192.0.2.1")
            stranger = Client(("127.0.0.1", mx), source="192.0.2.1")
        for each in (one, stranger):
            each.send(NO_CLIENTS[source])
            each.greeting()
            each.ehlo()
        one.starttls()
        one.ehlo()
        one.command("MAIL FROM:<a@b.test>", 530)
        stranger.command("MAIL FROM:<a@b.test>", 250)
        assert backend.session().identity["ADDR"] == "192.0.2.1"
        one.quit()
        stranger.quit()
        assert postern.wait_for_record(event="session ended", listener="mx")["client"] == "192.0.2.1"
    finally:
        backend.close()


def loud(postern):
    """Records that a postmaster would see who has not asked for more."""
    return [record for record in postern.records() if record["level"] != "debug"]


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_health_checks_leave_nothing_in_the_log(balanced, tls):
    """A connection that closes or breaks without a byte, or behind a header, and one that talks
    behind a header of the balancer's own."""
    postern = balanced()
    address = postern.implicit if tls == "implicit" else postern.starttls
    before = len(loud(postern))
    count = 0
    for header in (b"", local(), b"PROXY UNKNOWN\r\n", line()):
        for leave in (Client.close, Client.reset, Client.end_sending):
            with Client(address, source=BALANCER) as one:
                one.send(header)
                if header and tls == "starttls":
                    one.greeting()
                leave(one)
                count += 1
                postern.wait_for_record(event="session ended", level="debug", count=count)
    for header in (local(), b"PROXY UNKNOWN\r\n"):
        with connected(postern, header, tls) as one:
            one.ehlo()
            one.quit()
        count += 1
        postern.wait_for_record(event="session ended", level="debug", count=count)
    assert len(loud(postern)) == before


def test_balancer_that_announces_nobody_is_itself(balanced, backend):
    postern = balanced()
    with connected(postern, local()) as one:
        use(one)
    assert backend.session().identity["ADDR"] == BALANCER
    assert postern.session_record(one)["level"] == "info"


def test_shutdown_waits_for_no_header(balanced):
    postern = balanced()
    with Client(postern.starttls, source=BALANCER) as one:
        one.send(b"PROXY ")
        wait.until(lambda: select.select([], [one.socket], [], 0)[1], "sent")
        postern.stop()
        assert one.receive_rest() in (b"", b"421 4.3.2 Service is shutting down\r\n")


@pytest.fixture
def run_haproxy(scratch):
    """run_haproxy(configuration, address) -> a running one."""
    running = []

    def run(configuration, address):
        directory = scratch / f"haproxy-{len(running)}"
        directory.mkdir()
        running.append(HAProxy(directory, configuration, address))
        return running[-1]
    yield run
    for each in running:
        each.close()


@pytest.fixture
def haproxy(run_haproxy):
    """haproxy(back, words, more) -> one before one server."""
    def make(back, words, more=()):
        front = ("127.0.0.1", wait.free_port())
        return run_haproxy(haproxies.configuration(front, back, words, more), front)
    return make


@pytest.mark.parametrize("words", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl",
                                   "send-proxy-v2-ssl-cn",
                                   "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_behind_haproxy(balanced, backend, haproxy, words, tls):
    postern = balanced(peers=("127.0.0.0/30", "::1"))
    front = haproxy(postern.implicit if tls == "implicit" else postern.starttls, words)
    with Client(front.address, source="127.0.0.55", tls=tls == "implicit") as one:
        one.greeting()
        use(one, tls)
    assert postern.session_record(one)["client"] == "127.0.0.55"
    identity = backend.session().identity
    assert (identity["ADDR"], identity["PORT"]) == ("127.0.0.55", str(one.port))
    assert (identity["DESTADDR"], identity["DESTPORT"]) == \
        ("127.0.0.1", str(front.address[1]))


@pytest.mark.parametrize("words,more", [
    ("send-proxy check inter 100", ()),
    ("send-proxy-v2 check inter 100", ()),
    ("send-proxy-v2-ssl check inter 100", ()),
    ("send-proxy check inter 100", ("option smtpchk EHLO balancer.test",)),
    ("send-proxy-v2 check inter 100", ("option smtpchk EHLO balancer.test",)),
    ("send-proxy-v2 check check-ssl verify none inter 100", ()),
])
def test_health_checks_of_haproxy_leave_nothing_in_the_log(balanced, haproxy, words, more):
    postern = balanced(peers=("127.0.0.1",))
    back = postern.implicit if "check-ssl" in words else postern.starttls
    before = len(loud(postern))
    front = haproxy(back, words, more)
    postern.wait_for_record(event="session ended", level="debug", count=5)
    assert front.status() == "UP"
    assert len(loud(postern)) == before
    postern.stop()
    wait.until(lambda: front.status().startswith("DOWN"), "HAProxy sees it go")


@pytest.fixture
def two_behind_haproxy(start, run_haproxy):
    """The example's files: HAProxy with its addresses, and the two Posterns."""
    def make(backends):
        bound = {port: ("127.0.0.1", wait.free_port()) for port in (465, 587)}
        changes = {f"192.0.2.10:{port}": "%s:%d" % address for port, address in bound.items()}
        posterns = []
        for place, backend in enumerate(backends, 11):
            ports = {port: ("127.0.0.1", wait.free_port()) for port in (465, 587)}
            settings = {f'"*:{port}"': '"%s:%d"' % address for port, address in ports.items()}
            postern = start(backend, example=example.text("haproxy/postern.conf", {
                **settings, '"192.0.2.10"': '"127.0.0.1"'}))
            posterns.append(postern)
            changes.update({f"192.0.2.{place}:{port}": "%s:%d" % address
                            for port, address in ports.items()})
        text = example.text("haproxy/haproxy.cfg", {**changes, "inter 2s": "inter 100"})
        front = run_haproxy(text, bound[465])
        wait.until(lambda: all(front.status(server, section) == "UP" for server in ("one", "two")
                               for section in ("submissions", "submission")), "both servers")
        return front, bound, posterns
    return make


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_example_of_haproxy(two_behind_haproxy, backend, tls):
    """Both servers, one after the other's end; and no line for their checks."""
    front, bound, posterns = two_behind_haproxy((backend, backend))
    for count in range(2):
        with Client(bound[465 if tls == "implicit" else 587], source="127.0.0.55",
                    tls=tls == "implicit") as one:
            one.greeting()
            use(one, tls)
        assert backend.session(count).identity["ADDR"] == "127.0.0.55"
        served = next(each for each in posterns if each.find_records(port=str(one.port)))
        assert served.session_record(one)["client"] == "127.0.0.55"
        assert len(served.find_records(event="session ended")) == 1
        server = ("one", "two")[posterns.index(served)]
        served.stop()
        wait.until(lambda: all(front.status(server, section).startswith("DOWN")
                               for section in ("submissions", "submission")), "it is down")
