"""What the backend is told about the client, and what happens where it cannot be told."""

import re
import socket
import threading

import pytest

from support import wait
from support.backend import ATTRIBUTES, Backend
from support.client import Client, plain_response

BEFORE_THE_CLIENT = {"EHLO", "XCLIENT"}


def refused(postern, backend, reply=454, **options):
    """A login that fails for the backend's sake: the reply, behind which the connection closes.
    Nothing of the client's may have come through."""
    with postern.connect(**options) as one:
        one.ehlo("secret-name.example")
        said = one.login("alice", "wonderland", reply)
        one.expect_closed()
    assert said.status.startswith("4.")
    for connection in backend.connections:
        assert set(connection.verbs) <= BEFORE_THE_CLIENT | {"QUIT"}
    return postern.wait_for_record(event="session refused", port=str(one.port))


def test_backend_hears_every_attribute_that_it_asks_for(postern, backend):
    with postern.connect("starttls", source="127.0.0.33") as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland")
        assert backend.session().identity == {
            "ADDR": "127.0.0.33", "PORT": str(one.port), "PROTO": "ESMTP",
            "HELO": "laptop.example", "LOGIN": "alice", "NAME": "[UNAVAILABLE]",
            "DESTADDR": "127.0.0.1", "DESTPORT": str(postern.starttls[1])}


def test_login_and_address_stand_in_the_last_command_address_last(postern, backend):
    """Postfix forgets a login that a later command does not repeat, and decides by the address
    who may say more."""
    postern.log_in().quit()
    (*_, last) = backend.session().xclient
    names = [word.split(b"=")[0] for word in last.split()]
    assert names[-1] == b"ADDR" and b"LOGIN" in names


def test_order_of_the_opening(postern, backend):
    """EHLO, identity, and EHLO again with the client's own name; then 235."""
    with postern.connect() as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland")
        assert [c for c in backend.session().commands if not c.startswith(b"XCLIENT")] == [
            b"EHLO mail.example.org", b"EHLO laptop.example"]


@pytest.mark.parametrize("attributes", ["ADDR LOGIN", "LOGIN ADDR HELO", "NAME ADDR PORT LOGIN",
                                        "addr login proto", ATTRIBUTES + " SHOESIZE REVERSE_NAME"])
def test_only_offered_attributes_are_sent(start, backend, attributes):
    backend.attributes = attributes
    start(backend).log_in().quit()
    sent = {word.split(b"=")[0].decode() for line in backend.session().xclient
            for word in line.split()}
    assert sent == set(attributes.upper().split()) & set(ATTRIBUTES.split())


def test_long_identity_is_split_over_commands(start, backend):
    """None over 512 bytes, the whole of it told."""
    postern = start(backend, auth={"pam_service": "permit"})
    login, name = "l" * 200 + "=" * 15, "h" * 255
    with postern.connect() as one:
        one.ehlo(name)
        one.login(login, "x")
        session = backend.session()
        assert len(session.xclient) > 1
        assert all(len(b"XCLIENT " + line + b"\r\n") <= 512 for line in session.xclient)
        assert session.identity["LOGIN"] == login and session.identity["HELO"] == name


def test_identity_too_long_to_be_told_is_not_cut(start, backend):
    """A value is at most 255 bytes; half a login would be somebody else's."""
    postern = start(backend, auth={"pam_service": "permit"})
    with postern.connect() as one:
        one.ehlo()
        one.login("=" * 200, "x", 454)
        one.expect_closed()
    assert not backend.sessions
    record = postern.wait_for_record(event="session refused")
    assert "too long" in record["cause"]


def test_ipv6_client_is_told_as_such(start, backend):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    port = wait.free_port("::1")
    postern = start(backend, listen={"six": {"address": f"[::1]:{port}", "tls": "implicit"}})
    with Client(("::1", port), tls=True) as one:
        one.greeting()
        one.ehlo()
        one.login("alice", "wonderland")
    assert backend.session().identity["ADDR"] == "IPV6:::1"
    assert backend.session().identity["DESTADDR"] == "IPV6:::1"
    assert postern.session_record(one)["client"] == "::1"


def test_ipv4_client_of_a_listener_for_both_is_ipv4(start, backend):
    try:
        port = wait.free_port("::")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    start(backend, listen={"both": {"address": f"*:{port}", "tls": "implicit"}})
    with Client(("127.0.0.1", port), tls=True) as one:
        one.greeting()
        one.ehlo()
        one.login("alice", "wonderland")
    assert backend.session().identity["ADDR"] == "127.0.0.9"


def test_backend_on_a_unix_socket(start, scratch):
    backend = Backend(path=scratch / "backend")
    with start(backend).log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    assert backend.session().identity["ADDR"] == "127.0.0.9"
    backend.close()


# failures: each refuses the session, says why in the log, and lets nothing through

def test_backend_that_offers_no_xclient(start, backend):
    backend.attributes = None
    assert refused(start(backend), backend)["cause"] == "backend does not offer XCLIENT"


@pytest.mark.parametrize("attributes, missing", [("ADDR NAME PORT", "LOGIN"),
                                                 ("LOGIN HELO", "ADDR"), ("NAME HELO", "LOGIN ADDR"),
                                                 ("", "")])
def test_backend_that_offers_too_little(start, backend, attributes, missing):
    backend.attributes = attributes
    record = refused(start(backend), backend)
    for name in missing.split():
        assert name in record["cause"].split()


def test_what_is_required_is_an_option(start, backend):
    backend.attributes = "ADDR HELO"
    start(backend, backend={"identity_required": ["ADDR"]}).log_in().quit()
    assert backend.session().identity["ADDR"] == "127.0.0.9"


def test_requirement_that_is_not_met_is_told_at_the_start(start, backend):
    backend.attributes = "NAME HELO"
    start(backend).wait_for_record(level="warning", msg=re.compile("attribute.*required"))


@pytest.mark.parametrize("step, said", [
    ("connect", "554 5.3.2 Not today"), ("connect", "421 4.3.2 Busy"), ("connect", "250 Strange"),
    ("EHLO", "502 5.5.1 No"), ("EHLO", "421 4.3.2 Busy"),
    ("XCLIENT", "550 5.7.0 insufficient authorization"), ("XCLIENT", "501 5.5.4 Bad syntax"),
    ("XCLIENT", "421 4.3.0 Failure"), ("XCLIENT", "354 Go on"),
])
def test_refusal_of_any_step_is_told_in_the_backends_words(start, backend, step, said):
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.on(step, said)
    assert said in refused(postern, backend)["cause"]


def test_refusal_behind_the_identity(start, backend):
    """The client's own EHLO."""
    postern = start(backend)

    def ehlo(connection, line):
        if connection.xclient:
            connection.say("550 5.7.1 I know that name")
        else:
            connection.ehlo()
    backend.on("EHLO", ehlo)
    with postern.connect() as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland", 454)
        one.expect_closed()
    assert "550 5.7.1 I know that name" in \
        postern.wait_for_record(event="session refused")["cause"]


@pytest.mark.parametrize("step", ["connect", "EHLO", "XCLIENT"])
@pytest.mark.parametrize("how", ["drop", "reset"])
def test_backend_that_goes_away(start, backend, step, how):
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.on(step, lambda connection, line: getattr(connection, how)())
    assert refused(postern, backend)["cause"]


@pytest.mark.parametrize("step", ["connect", "EHLO", "XCLIENT"])
def test_backend_that_falls_silent(start, backend, step):
    postern = start(backend, timeouts={"backend_identity": 1, "backend_connect": 1})
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    release = threading.Event()
    backend.on(step, lambda connection, line: connection.hold(release))
    try:
        assert "1 s" in refused(postern, backend)["cause"]
    finally:
        release.set()


def test_time_to_be_ready_may_be_shorter_than_that_to_connect(start, backend):
    """A backend that is connected has no more than it, however long a connection may take."""
    postern = start(backend, timeouts={"backend_identity": 1, "backend_connect": 60})
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    release = threading.Event()
    backend.on("connect", lambda connection, line: connection.hold(release))
    try:
        assert "not ready in 1 s" in refused(postern, backend)["cause"]
    finally:
        release.set()


GARBAGE = {
    "TLS alert": b"\x16\x03\x03\0\x02\x02\x28",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no separator": b"220\xff\r\n",
    "four digits": b"2200 x\r\n",
    "two codes in one reply": b"220-a\r\n221 b\r\n",
    "two replies": b"220 a\r\n250 b\r\n",
    "line without an end": b"x" * 70_000,
    "reply without an end": b"220-a\r\n" * 20_000,
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("step", ["connect", "XCLIENT"])
def test_backend_that_speaks_something_else(start, backend, step, garbage):
    postern = start(backend, timeouts={"backend_identity": 1, "backend_connect": 1})
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.on(step, lambda connection, line: connection.send(GARBAGE[garbage]))
    assert refused(postern, backend)["cause"]


def test_backend_that_is_not_there(start, backend):
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.stop_listening()
    assert "refused" in refused(postern, backend)["cause"].lower()


def test_unix_socket_that_is_not_there(start, scratch):
    postern = start(f"unix:{scratch}/nowhere")
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert "No such file" in postern.wait_for_record(event="session refused")["cause"]


def test_backend_that_stops_offering_xclient(start, backend):
    """What it offered an hour ago does not count."""
    postern = start(backend)
    postern.log_in().quit()
    backend.attributes = None
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)


def test_client_that_leaves_while_the_backend_is_opened(start, backend):
    postern = start(backend)
    release = threading.Event()

    def xclient(connection, _):
        connection.hold(release)
        connection.say("220 fake.test")
    backend.on("XCLIENT", xclient)
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland") + "\r\nMAIL FROM:<a@b>\r\n")
        backend.session()
        one.reset()
        postern.session_record(one)
    release.set()
    backend.wait(lambda: backend.session().ended, "the end of its connection")
    assert b"MAIL" not in backend.session().received


@pytest.mark.parametrize("refused, expected", [("501 5.0.0 Invalid domain name", 235),
                                               ("550 5.7.1 Go away", 454)])
def test_name_that_is_none_to_the_backend_keeps_nobody_out(start, backend, refused, expected):
    """Windows machines have an underscore in theirs; the client's address stands for it. Who is
    refused for another reason is refused."""
    def take(connection, line):
        if b"my_pc" in line:
            connection.say(refused)
        else:
            connection.ehlo()
    with start(backend).connect() as one:
        backend.on("EHLO", take)
        one.ehlo("my_pc")
        one.login("alice", "wonderland", expected)
        if expected == 235:
            one.quit()
            session = backend.session()
            assert [line for line in session.commands if line.startswith(b"EHLO")][-2:] == \
                [b"EHLO my_pc", b"EHLO [127.0.0.9]"]
            assert session.identity["HELO"] == "my_pc"
