"""What the backend is told about the client, and what happens where it cannot be told."""

import re
import shutil
import socket
import subprocess
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
    ("connect", "250 Strange"), ("EHLO", "502 5.5.1 No"),
    ("XCLIENT", "550 5.7.0 insufficient authorization"), ("XCLIENT", "501 5.5.4 Bad syntax"),
    ("XCLIENT", "354 Go on"),
])
def test_refusal_of_any_step_is_told_in_the_backends_words(start, backend, step, said):
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.on(step, said)
    assert said in refused(postern, backend)["cause"]


# refusals of the session, which are the backend's own and told as such

def refuse_at(backend, step, said):
    """From the next session on; "hello" is the EHLO or HELO with the client's own name."""
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")

    def hello(connection, _):
        if connection.xclient:
            connection.say(said)
        else:
            connection.ehlo()
    backend.on("EHLO" if step == "hello" else step, hello if step == "hello" else said)


@pytest.mark.parametrize("step, said", [
    ("connect", "554 5.3.2 Not today"), ("connect", "421 4.3.2 Busy"), ("connect", "450 Later"),
    ("EHLO", "421 4.3.2 Busy"), ("EHLO", "554 5.7.1 Go away"),
    ("XCLIENT", "554 5.7.1 <unknown[127.0.0.9]>: Client host rejected: Access denied"),
    ("XCLIENT", "450 4.7.1 Client host rejected: cannot find your hostname"),
    ("XCLIENT", "421 4.7.0 Error: too many connections"),
    ("hello", "550 5.7.1 I know that name"), ("hello", "504 5.5.2 Need a whole name"),
    ("hello", "550 5.7.1 Refused\n550 5.7.1 see https://example.org/why"),
])
def test_threat_39_refusal_reaches_the_client_as_it_was_said(start, backend, step, said):
    """At the first command after AUTH: clients take any other reply to AUTH for a wrong password,
    and none of them shows its text."""
    postern = start(backend)
    refuse_at(backend, step, said)
    with postern.connect() as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland")
        reply = one.command("MAIL FROM:<a@b.test>")
        assert (reply.code, reply.lines) == (int(said[:3]), [line[4:] for line in said.split("\n")])
        if reply.code == 421:
            one.expect_closed()
        else:
            one.quit()
    record = postern.wait_for_record(event="session refused", port=str(one.port))
    assert said.split("\n")[-1] in record["cause"]
    assert postern.session_record(one)["end"] == record["cause"]
    for connection in backend.connections:
        assert set(connection.verbs) <= BEFORE_THE_CLIENT | {"QUIT"}


def test_threat_39_nothing_else_is_done_for_a_client_that_the_backend_refused(start, backend):
    postern = start(backend)
    refuse_at(backend, "XCLIENT", "554 5.7.1 No")
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland") + "\r\n"
                 "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nEHLO x\r\nNOOP\r\n"
                 "AUTH PLAIN " + plain_response("alice", "wonderland") + "\r\nXCLIENT LOGIN=x\r\n"
                 "QUIT\r\n")
        assert [one.reply().code for _ in range(9)] == [235] + [554] * 7 + [221]
        one.expect_closed()
    assert len(backend.sessions) == 1


def test_threat_39_chunk_of_a_refused_client_is_no_command(start, backend):
    postern = start(backend)
    refuse_at(backend, "XCLIENT", "554 5.7.1 No")
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland")
        one.send("BDAT 6 LAST\r\nQUIT\r\n")
        one.reply(554)
        one.expect_closed()


@pytest.mark.parametrize("how", ["mistakes", "silence"])
def test_refused_client_does_not_stay_for_ever(start, backend, how):
    postern = start(backend, limits={"errors": 3},
                    timeouts={"greeting": 1 if how == "silence" else 300})
    refuse_at(backend, "connect", "554 5.7.1 No")
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland")
        for _ in range(3 if how == "mistakes" else 0):
            one.command("MAIL FROM:<a@b.test>", 554)
        one.reply(421)
        one.expect_closed()


def test_threat_39_text_of_a_refusal_is_bounded_and_harmless(start, backend):
    postern = start(backend)
    refuse_at(backend, "connect", lambda connection, _: connection.send(
        b"554-5.7.1 a\x1b[2J\0b \xc3\xbc\r\n" + b"554-" + b"x" * 3000 + b"\r\n"
        + b"554-y\r\n" * 1000 + b"554 end\r\n"))
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland")
        reply = one.command("MAIL FROM:<a@b.test>", 554)
        assert reply.lines[:2] == ["5.7.1 a?[2J?b \xfc", "x" * 506]
        assert sum(map(len, reply.lines)) < 1024
        one.quit()


@pytest.mark.parametrize("sender", ["msmtp", "swaks", "curl"])
def test_threat_39_senders_see_why_they_are_refused(start, backend, sender):
    if not shutil.which(sender):
        pytest.skip(f"needs {sender}")
    postern = start(backend)
    refuse_at(backend, "XCLIENT", "554 5.7.1 Client host rejected")
    host, port = postern.implicit
    command = {
        "msmtp": ["msmtp", "--file=/dev/null", f"--host={host}", f"--port={port}", "--tls=on",
                  "--tls-starttls=off", "--tls-certcheck=off", "--auth=plain", "--user=alice",
                  "--passwordeval=echo wonderland", "--from=a@b.test", "c@d.test"],
        "swaks": ["swaks", "--server", host, "--port", str(port), "--tlsc", "--auth", "PLAIN",
                  "--auth-user", "alice", "--auth-password", "wonderland", "--from", "a@b.test",
                  "--to", "c@d.test"],
        "curl": ["curl", "--silent", "--show-error", "--insecure", f"smtps://{host}:{port}/x",
                 "--user", "alice:wonderland", "--mail-from", "a@b.test", "--mail-rcpt",
                 "c@d.test", "--upload-file", "-"],
    }[sender]
    result = subprocess.run(command, input="Subject: x\n\nx\n", capture_output=True, text=True,
                            timeout=wait.PATIENCE * 3, check=False)
    said = result.stdout + result.stderr
    assert result.returncode != 0
    assert "554" in said and ("Client host rejected" in said or sender == "curl")
    assert "authentication failed" not in said.lower() and "login denied" not in said.lower()


def test_threat_39_stranger_at_an_mx_hears_the_refusal_to_mail(start, backend):
    port = wait.free_port()
    start(backend, listen={"mx": {"address": f"127.0.0.1:{port}", "tls": "starttls", "role": "mx",
                                  "recipients": ["example.org"]}})
    refuse_at(backend, "XCLIENT", "554 5.7.1 Listed")
    with Client(("127.0.0.1", port)) as one:
        one.greeting()
        one.ehlo()
        one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@example.org>\r\nQUIT\r\n")
        assert [one.reply().lines for _ in range(2)] == [["5.7.1 Listed"]] * 2
        one.reply(221)
        one.expect_closed()


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
                                               ("550 5.7.1 Go away", 550)])
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
        one.login("alice", "wonderland")
        one.command("NOOP", 250 if expected == 235 else expected)
        one.quit()
        if expected == 235:
            session = backend.session()
            assert [line for line in session.commands if line.startswith(b"EHLO")][-2:] == \
                [b"EHLO my_pc", b"EHLO [127.0.0.9]"]
            assert session.identity["HELO"] == "my_pc"
