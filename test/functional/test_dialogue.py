"""SMTP before authentication."""

import re

import pytest

from support import processes, wait
from support.client import Client, b64, plain_response
from support.postern import LEAN

ENHANCED = re.compile(r"[245]\.\d\.\d{1,2} \S")


@pytest.fixture(params=["starttls", "implicit"])
def greeted(request, postern):
    """A client under TLS that has said EHLO, on either port."""
    with postern.connect(request.param) as one:
        one.ehlo()
        yield one


@pytest.fixture
def plain(postern):
    with postern.connect(None) as one:
        yield one


def test_greeting_names_the_host(postern):
    with Client(postern.starttls) as plain, Client(postern.implicit, tls=True) as secure:
        for one in (plain, secure):
            assert one.greeting().text.split()[:2] == ["mail.example.org", "ESMTP"]


def test_nothing_is_said_before_tls_on_the_implicit_port(postern):
    with Client(postern.implicit) as one:
        one.end_sending()
        assert one.receive_rest() == b""


# EHLO

def test_ehlo_in_plaintext_offers_tls_and_no_password_is_asked_for(plain):
    offered = plain.ehlo()
    assert "STARTTLS" in offered
    assert not [keyword for keyword in offered if keyword.startswith("AUTH")]


def test_starttls_is_not_the_last_line(plain):
    """There are clients that miss it there."""
    lines = plain.command("EHLO x", 250).lines
    assert "STARTTLS" in lines[1:-1]


def test_starttls_is_not_the_last_line_when_the_backend_offers_nothing(start, backend):
    backend.extensions = ()
    with start(backend).connect(None) as one:
        assert one.command("EHLO x", 250).lines[-1] != "STARTTLS"


def test_ehlo_under_tls_offers_auth_and_no_second_tls(greeted):
    offered = greeted.ehlo()
    assert offered["AUTH"].split() == ["PLAIN", "LOGIN"]
    assert "STARTTLS" not in offered


def test_ehlo_offers_what_the_backend_offers(start, backend):
    backend.extensions = ("PIPELINING", "SIZE 12345", "X-OWN", "DSN", "BURL imap", "HELP")
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    with postern.connect() as one:
        assert one.ehlo() == {"PIPELINING": "", "SIZE": "12345", "DSN": "", "AUTH": "PLAIN LOGIN"}


def test_ehlo_follows_a_backend_that_changes(start, backend):
    backend.extensions = ("SIZE 1000",)
    postern = start(backend)
    wait.until(lambda: postern.connect().ehlo().get("SIZE") == "1000", "the first offer")
    backend.extensions = ("SIZE 500",)
    postern.log_in().quit()
    with postern.connect() as one:
        assert one.ehlo()["SIZE"] == "500"
    backend.extensions = ("SIZE 2000", "8BITMIME")

    def is_noticed():
        postern.log_in().quit()
        with postern.connect() as one:
            offered = one.ehlo()
        return offered["SIZE"] == "2000" and "8BITMIME" in offered
    wait.until(is_noticed, "what it offers now")


def test_ehlo_promises_nothing_while_the_backend_is_down(start, backend):
    backend.stop_listening()
    postern = start(backend)
    with postern.connect() as one:
        assert one.ehlo() == {"AUTH": "PLAIN LOGIN"}
    postern.wait_for_record(level="warning", msg=re.compile(r"backend 127\.0\.0\.1:\d+: cannot reach"))


def test_offer_is_learned_when_the_backend_comes_up(start, scratch):
    from support.backend import Backend
    path = scratch / "backend"
    postern = start(f"unix:{path}")
    with postern.connect() as one:
        assert one.ehlo() == {"AUTH": "PLAIN LOGIN"}
        late = Backend(path=path)
        wait.until(lambda: "SIZE" in one.ehlo(), "the backend's offer")
    late.close()


def test_old_outlooks_form_of_auth_is_an_option(start, backend):
    with start(backend, auth={"legacy_ehlo": True}).connect() as one:
        lines = one.command("EHLO x", 250).lines
    assert "AUTH PLAIN LOGIN" in lines and "AUTH=PLAIN LOGIN" in lines


def test_only_configured_mechanisms_are_offered(start, backend):
    with start(backend, auth={"mechanisms": ["LOGIN"]}).connect() as one:
        assert one.ehlo()["AUTH"] == "LOGIN"


@pytest.mark.parametrize("name", ["", " ", "x" * 256, "gr\x01n"])
def test_ehlo_needs_a_name(greeted, name):
    assert greeted.command(f"EHLO {name}").code in (500, 501)
    assert greeted.command(f"HELO {name}").code in (500, 501)


#: What computers are called, and what of that goes on.
CALLED = [(b"my pc", "my?pc"), ("büro".encode(), "b??ro"), ("офис".encode("cp1251"), "????"),
          ("[офис]".encode("cp1251"), "[????]"), (b"a\tb", "a?b"), (b"  two  blanks  ", "two??blanks")]


@pytest.mark.parametrize("said, told", CALLED)
@pytest.mark.parametrize("verb", ["EHLO", "HELO"])
def test_computer_with_a_name_that_is_none_gets_in(start, backend, verb, said, told):
    """The backend gets a form that stays one word, everywhere; the log has the name itself."""
    postern = start(backend, backend={"trace": True})
    with postern.connect() as one:
        one.command(verb.encode() + b" " + said, 250)
        one.login("alice", "wonderland")
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.command(verb.encode() + b" " + said, 250)
        one.quit()
    session = backend.session()
    hello = f"{verb} {told}".encode()
    assert session.commands.count(hello) == 2 and session.identity["HELO"] == told
    assert f"Received: from {told.strip()}".replace("?", "") in \
        session.messages[0].decode().replace("?", "")
    logged = postern.session_record(one)["helo"]
    assert said.strip() in (logged.encode(), logged.encode("latin-1", "replace"))


@pytest.mark.parametrize("said, _", CALLED[:-1])
def test_names_that_are_none_can_be_refused(start, backend, said, _):
    postern = start(backend, helo="strict")
    with postern.connect() as one:
        one.command(b"EHLO " + said, 501)
        one.command(b"HELO " + said, 501)
        one.command("EHLO my_pc", 250)
        one.login("alice", "wonderland")
        one.command(b"EHLO " + said, 501)


@pytest.mark.parametrize("name", ["[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost", "WIN_PC.local",
                                  "x" * 255])
def test_ehlo_takes_names_that_are_in_use(greeted, name):
    greeted.command(f"ehlo {name}", 250)


def test_helo_is_answered_in_one_line(greeted):
    assert greeted.command("HELO old.example", 250).lines == ["mail.example.org"]


# what else may be said

@pytest.mark.parametrize("command, code", [
    ("NOOP", 250), ("noop", 250), ("NOOP with words", 250), ("RSET", 250), ("HELP", 214),
    ("HELP MAIL", 214), ("VRFY alice", 502), ("EXPN list", 502), ("ETRN example.org", 502),
    ("MAIL FROM:<a@b.test>", 530), ("RCPT TO:<c@d.test>", 530), ("DATA", 530),
    ("TURN", 500), ("", 500), (" NOOP", 500), ("NOOP\tx", 500), ("STARTTLS", 503),
    ("AUTH", 501), ("AUTH CRAM-MD5", 504), ("XCLIENT LOGIN=x", 550), ("NOO\x01P", 500),
    ("NOOP \0", 500), ("NOOP\rRSET", 500), ("NOOP \x7f", 500),
])
def test_commands_before_authentication(greeted, command, code):
    reply = greeted.command(command, code)
    assert all(ENHANCED.match(line) for line in reply.lines)
    greeted.command("NOOP", 250)


@pytest.mark.parametrize("command, code", [
    ("NOOP", 250), ("RSET", 250), ("HELP", 214), ("VRFY alice", 530), ("EXPN list", 530),
    ("MAIL FROM:<a@b.test>", 530), ("RCPT TO:<c@d.test>", 530), ("DATA", 530), ("TURN", 500),
    ("STARTTLS now", 501), ("AUTH PLAIN " + plain_response("alice", "wonderland"), 530),
    ("auth login", 530), ("XCLIENT LOGIN=x", 550),
])
def test_commands_in_plaintext(plain, command, code):
    plain.ehlo()
    assert ENHANCED.match(plain.command(command, code).lines[0])
    plain.command("NOOP", 250)


def test_ehlo_comes_before_mail(postern):
    """Also after STARTTLS, which forgets the one before."""
    with postern.connect() as implicit, postern.connect("starttls") as upgraded:
        for one in (implicit, upgraded):
            one.command("MAIL FROM:<a@b.test>", 503)


@pytest.mark.parametrize("hello", ["HELO camera", None])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_device_may_log_in_without_ehlo(postern, backend, tls, hello, mechanism):
    """What EHLO said before STARTTLS is forgotten (RFC 3207): neither its name nor what it offered
    is believed, and the backend hears HELO."""
    with postern.connect(tls) as one:
        if hello:
            one.command(hello, 250)
        if mechanism == "PLAIN":
            one.login("alice", "wonderland")
        else:
            one.command("AUTH LOGIN", 334)
            one.command(b64("alice"), 334)
            one.command(b64("wonderland"), 235)
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("BDAT 3 LAST\r\nx\r\n")
        one.reply(503)
        one.expect_closed()
    session = backend.session()
    assert session.identity["PROTO"] == "SMTP"
    assert session.identity["HELO"] == ("camera" if hello else "[UNAVAILABLE]")
    assert (hello.encode() if hello else b"HELO [127.0.0.9]") in session.commands
    assert len(session.messages) == 1 and session.chunks == []


def test_device_without_ehlo_may_send_it_after_its_login(postern, backend):
    with postern.connect() as one:
        one.login("alice", "wonderland")
        assert "CHUNKING" in one.ehlo()
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("BDAT 3 LAST\r\nx\r\n")
        one.reply(250)
        one.quit()


@pytest.mark.parametrize("login", ["AUTH  PLAIN {}", "AUTH PLAIN   {}", "auth   plain   {}  "])
def test_blanks_too_many_keep_nobody_out(postern, backend, login):
    with postern.connect() as one:
        one.command("EHLO   printer.example  ", 250)
        one.command(login.format(plain_response("alice", "wonderland")), 235)
        one.quit()
    assert backend.session().identity["HELO"] == "printer.example"


def test_commands_sent_together_are_answered_in_order(greeted):
    greeted.send("NOOP\r\nTURN\r\nRSET\r\nVRFY x\r\nHELP\r\nQUIT\r\n")
    assert [greeted.reply().code for _ in range(6)] == [250, 500, 250, 502, 214, 221]
    greeted.expect_closed()


def test_commands_may_come_byte_by_byte(postern):
    with postern.connect(None) as one:
        for byte in b"EHLO crumb.example\r\nNOOP\r\n":
            one.send(bytes([byte]))
        one.reply(250)
        one.reply(250)


def test_nothing_follows_quit(greeted):
    greeted.send("QUIT\r\nNOOP\r\n")
    greeted.reply(221)
    greeted.expect_closed()


@pytest.mark.parametrize("extra, code", [(0, 250), (1, 500), (100_000, 500)])
def test_command_lines_have_a_limit(greeted, extra, code):
    """2048 bytes with CRLF; whatever the excess, it is one mistake."""
    greeted.send(b"NOOP " + b"x" * (2048 - 7 + extra) + b"\r\nRSET\r\n")
    greeted.reply(code)
    greeted.reply(250)


def test_line_without_an_end_takes_no_memory(start, backend):
    postern = start(backend, environment=LEAN)
    reactor = postern.sole("reactor")
    with postern.connect() as one:
        one.ehlo()
        one.send(b"x" * 100_000)
        one.reply(500)
        before = processes.resident_bytes(reactor)
        for _ in range(200):
            one.send(b"x" * 100_000)
        one.send(b"\r\nNOOP\r\n")
        one.reply(250)
        assert processes.resident_bytes(reactor) - before < 4_000_000


@pytest.mark.parametrize("tls", [None, "starttls", "implicit"])
def test_too_many_mistakes_close(start, backend, tls):
    postern = start(backend, limits={"errors": 4})
    with postern.connect(tls) as one:
        for _ in range(3):
            one.command("GIBBERISH", 500)
        one.command("NOOP", 250)
        one.command("GIBBERISH", 500)
        one.reply(421)
        one.expect_closed()
    assert postern.session_record(one)["end"] == "too many errors"


@pytest.mark.parametrize("tls", [None, "implicit"])
@pytest.mark.parametrize("command", ["NOOP", "GIBBERISH", "EHLO x"])
def test_log_says_how_the_client_left(postern, tls, command):
    with postern.connect(tls) as one:
        one.command(command)
    assert postern.session_record(one)["end"] in ("client closed",
                                                  "connection closed without close_notify")


# deadlines

def test_client_that_says_nothing_is_let_go(start, backend):
    postern = start(backend, timeouts={"greeting": 1})
    with postern.connect(None) as plain, postern.connect() as secure:
        for one in (plain, secure):
            one.reply(421)
            one.expect_closed()
            assert postern.session_record(one)["end"] == "no command in time"


def test_time_before_authentication_is_limited_in_all(start, backend):
    """However busy the client seems."""
    postern = start(backend, timeouts={"login": 1})
    with postern.connect() as one:
        one.ehlo()
        replies = 0
        while one.command("NOOP").code == 250:
            replies += 1
        one.expect_closed()
    assert postern.session_record(one)["end"] == "no authentication in time"


def test_half_an_auth_does_not_stop_the_clock(start, backend):
    postern = start(backend, timeouts={"login": 1})
    with postern.connect() as one:
        one.ehlo()
        one.command("AUTH LOGIN", 334)
        one.reply(421)
        one.expect_closed()
