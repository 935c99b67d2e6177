"""The session between an authenticated client and its backend."""

import re
import threading
import time

import pytest

from support import processes, wait
from support.postern import LEAN


@pytest.fixture
def one(postern):
    with postern.log_in() as client:
        yield client


@pytest.fixture
def session(one, backend):
    return backend.session()


# what passes

def test_replies_are_the_backends_own(one, backend):
    backend.on("MAIL", "250 2.1.0 Delighted").on("RCPT", "450 4.2.0 Greylisted\n450 4.2.0 come back")
    assert one.command("MAIL FROM:<a@b.test>").lines == ["2.1.0 Delighted"]
    assert one.command("RCPT TO:<c@d.test>") == (450, ["4.2.0 Greylisted", "4.2.0 come back"])


def test_commands_arrive_as_they_were_said(one, session):
    said = [b"MAIL FROM:<a@b.test> SIZE=12 BODY=8BITMIME RET=HDRS ENVID=x+20y",
            b"RCPT TO:<\"odd local part\"@d.test> NOTIFY=NEVER ORCPT=rfc822;c@d.test",
            b"vrfy someone", b"NOOP with   spaces", b"RSET"]
    for line in said:
        one.command(line)
    assert session.commands[-len(said):] == said


@pytest.mark.parametrize("said, heard", [
    ("MAIL  FROM:<a@b.test>", "MAIL FROM:<a@b.test>"),
    ("MAIL FROM: <a@b.test>", "MAIL FROM:<a@b.test>"),
    ("MAIL FROM:   a@b.test", "MAIL FROM:a@b.test"),
    ("MAIL   FROM:  < a@b.test  >   SIZE=5    BODY=7BIT ", "MAIL FROM:<a@b.test> SIZE=5 BODY=7BIT"),
    ("MAIL FROM:<a@b.test >  AUTH=x", "MAIL FROM:<a@b.test>"),
    ("MAIL FROM:< >", "MAIL FROM:<>"),
    ("RCPT  TO:<c@d.test>", "RCPT TO:<c@d.test>"),
    ("RCPT TO: <c@d.test>", "RCPT TO:<c@d.test>"),
    ("RCPT   TO:  <  c@d.test >   NOTIFY=NEVER   ORCPT=rfc822;x ",
     "RCPT TO:<c@d.test> NOTIFY=NEVER ORCPT=rfc822;x"),
    ('RCPT TO:< "c d"@d.test >', 'RCPT TO:<"c d"@d.test>'),
    ("RCPT", "RCPT"), ("RCPT TO:", "RCPT TO:"), ("RCPT  TO:<a b@c> ", "RCPT TO:<a b@c>"),
    ("EHLO   again.example ", "EHLO again.example"), ("HELO  x", "HELO x"),
    ("NOOP   x ", "NOOP x"), ("DATA ", "DATA"), ("RSET   ", "RSET"), ("VRFY   x", "VRFY x"),
])
def test_no_two_servers_read_spaces_differently(one, backend, session, said, heard):
    """There is one form of a command towards a backend, however a client writes it."""
    backend.on("DATA", "503 5.5.1 No")
    one.command(said)
    assert session.commands[-1] == heard.encode()


def test_chunk_is_announced_in_one_form(one, session):
    one.envelope("a@b.test", ["c@d.test"])
    one.send("BDAT   3\r\nx\r\nBDAT 3    last  \r\ny\r\n")
    one.reply(250)
    one.reply(250)
    lines = [line for line in session.commands if line.startswith(b"BDAT")]
    assert lines[-1] == b"BDAT 3 LAST" and not any(b"  " in line for line in lines)
    assert session.chunked == [b"x\r\ny\r\n"]


@pytest.mark.parametrize("command, code", [
    ("VRFY x", 252), ("EXPN x", 252), ("HELP", 214), ("NOOP", 250), ("RSET", 250),
    ("ETRN example.org", 250), ("HELO again.example", 250),
])
def test_allowed_verbs_reach_the_backend(one, session, command, code):
    one.command(command, code)
    assert session.commands[-1] == command.encode()


@pytest.mark.parametrize("command, code", [
    ("STARTTLS", 503), ("AUTH PLAIN AGEAYg==", 503), ("XCLIENT LOGIN=root", 550),
    ("XFORWARD ADDR=1.2.3.4", 550), ("XCONNECT x", 550), ("PROXY TCP4 1.2.3.4 5.6.7.8 9 25", 550),
    ("TURN", 500), ("SEND FROM:<a@b>", 500), ("BURL imap://x LAST", 500), ("", 500),
    ("DEBUG", 500), ("WIZ", 500), ("X-ANYTHING", 500), ("NOOP \x01", 500), ("NOOP\0", 500),
])
def test_other_verbs_do_not(one, session, command, code):
    heard = len(session.received)
    one.command(command, code)
    one.command("NOOP", 250)
    assert bytes(session.received[heard:]) == b"NOOP\r\n"


@pytest.mark.parametrize("said, heard", [
    ("MAIL FROM:<a@b.test> AUTH=root@b.test", "MAIL FROM:<a@b.test>"),
    ("MAIL FROM:<a@b.test> auth=<> SIZE=5", "MAIL FROM:<a@b.test> SIZE=5"),
    ("MAIL FROM:<a@b.test> SIZE=5 AUTH=x BODY=7BIT", "MAIL FROM:<a@b.test> SIZE=5 BODY=7BIT"),
    ("MAIL FROM:<> AUTH=<>", "MAIL FROM:<>"),
    ("MAIL FROM:<a@b.test>", "MAIL FROM:<a@b.test>"),
    ('MAIL FROM:<"x AUTH"@b.test> SIZE=1', None),
    ('MAIL FROM:<"x> AUTH=y"@b.test>', None),
    ("MAIL FROM:<a@b.test>\tAUTH=x", None),
    ("MAIL FROM:<a@b.test>AUTH=x", None),
    ("MAIL TO:<a@b.test>", None),
    ("MAIL", None),
])
def test_claims_of_authorship_are_removed(one, session, said, heard):
    """Threat 5: AUTH= on MAIL FROM; what could be read in two ways is refused."""
    before = len(session.commands)
    assert one.command(said).code == (250 if heard else 501)
    one.command("NOOP", 250)
    assert session.commands[before:] == ([heard.encode()] if heard else []) + [b"NOOP"]


def test_long_command_is_refused_and_the_session_lives(one, session):
    one.send(b"NOOP " + b"x" * 5000 + b"\r\nRSET\r\n")
    one.reply(500)
    one.reply(250)
    assert session.commands[-1] == b"RSET"
    assert b"xxx" not in session.received


def test_commands_may_come_byte_by_byte(one, session):
    for byte in b"MAIL FROM:<a@b.test>\r\nRSET\r\n":
        one.send(bytes([byte]))
    one.reply(250)
    one.reply(250)
    assert session.commands[-2:] == [b"MAIL FROM:<a@b.test>", b"RSET"]


def test_too_many_mistakes_close(start, backend):
    postern = start(backend, limits={"errors": 3})
    with postern.log_in() as client:
        for _ in range(3):
            client.command("GIBBERISH", 500)
        client.reply(421)
        client.expect_closed()
    backend.wait(lambda: backend.session().ended, "the end of the backend's session")


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_threat_40_mistakes_between_good_messages_close_nothing(start, backend, way):
    """Only those since the last accepted message count."""
    with start(backend, limits={"errors": 3}).log_in() as client:
        for _ in range(6):
            client.command("GIBBERISH", 500)
            client.command("MAIL TO:<nobody>", 501)
            client.envelope("a@b.test", ["c@d.test"])
            if way == "DATA":
                client.command("DATA", 354)
            client.send(b"x\r\n.\r\n" if way == "DATA" else b"BDAT 3 LAST\r\nx\r\n")
            client.reply(250)
        client.command("GIBBERISH", 500)
        client.command("GIBBERISH", 500)
        client.command("GIBBERISH", 500)
        client.reply(421)


def test_threat_40_message_that_was_refused_forgives_no_mistake(start, backend):
    backend.on("message", "554 5.6.0 Not this one")
    with start(backend, limits={"errors": 3}).log_in() as client:
        client.command("GIBBERISH", 500)
        client.command("GIBBERISH", 500)
        client.send_message("a@b.test", ["c@d.test"], b"x\r\n", 554)
        client.command("GIBBERISH", 500)
        client.reply(421)


def test_threat_40_login_that_is_repeated_before_each_message_is_no_mistake(start, backend):
    with start(backend, limits={"errors": 3}).log_in() as client:
        for _ in range(6):
            client.command("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=", 503)
            client.command("AUTH LOGIN", 503)
        client.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        client.quit()


def test_mistakes_that_the_backend_finds_are_not_counted(start, backend):
    backend.on("RCPT", "550 5.1.1 Unknown")
    with start(backend, limits={"errors": 2}).log_in() as client:
        client.command("MAIL FROM:<a@b.test>", 250)
        for _ in range(10):
            client.command("RCPT TO:<nobody@d.test>", 550)


# EHLO in mid-session

def test_ehlo_in_mid_session_is_answered_by_the_backend_and_filtered(one, backend, session):
    """Threat 9."""
    backend.extensions = ("PIPELINING", "SIZE 777", "STARTTLS", "AUTH PLAIN", "AUTH=PLAIN",
                          "XFORWARD NAME ADDR", "XSECURITY", "PIPECONNECT", "BURL imap", "HELP",
                          "X-UNHEARD-OF", "8BITMIME")
    assert one.ehlo("second.example") == {"PIPELINING": "", "SIZE": "777", "8BITMIME": ""}
    assert session.commands[-1] == b"EHLO second.example"


def test_refused_ehlo_is_passed_on(one, backend):
    backend.on("EHLO", "550 5.7.1 Not again")
    assert one.command("EHLO x", 550).lines == ["5.7.1 Not again"]
    one.command("NOOP", 250)


def test_mid_session_ehlo_decides_about_chunking(one, backend, session):
    backend.extensions = ("PIPELINING",)
    one.ehlo()
    one.send("BDAT 5 LAST\r\nhello")
    one.reply(503)
    one.expect_closed()
    assert b"hello" not in session.received


# pipelining

def test_pipelined_transaction_is_answered_in_order(one, session):
    one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nXCLIENT ADDR=1.1.1.1\r\n"
             "RCPT TO:<e@f.test>\r\nSTARTTLS\r\nDATA\r\n")
    assert [one.reply().code for _ in range(6)] == [250, 250, 550, 250, 503, 354]
    one.send("text\r\n.\r\nRSET\r\nQUIT\r\n")
    assert [one.reply().code for _ in range(3)] == [250, 250, 221]
    assert session.verbs[-6:] == ["MAIL", "RCPT", "RCPT", "DATA", "RSET", "QUIT"]


def test_our_own_replies_wait_for_their_turn(one, backend):
    release = threading.Event()

    def late(connection, _):
        connection.hold(release)
        connection.say("250 2.0.0 At last")
    backend.on("NOOP", late)
    one.send("NOOP\r\nXCLIENT LOGIN=x\r\nNOOP\r\n")
    backend.wait(lambda: backend.session().verbs[-1] == "NOOP", "NOOP")
    assert one.unread() == b""
    release.set()
    assert [one.reply().code for _ in range(3)] == [250, 550, 250]


def test_very_many_pipelined_commands(one):
    """More than there are places in any queue."""
    one.send("NOOP\r\nVRFY x\r\nGIBBERISH\r\n" * 3 + "NOOP\r\n" * 2000)
    codes = [one.reply().code for _ in range(9 + 2000)]
    assert codes == [250, 252, 500] * 3 + [250] * 2000


def test_many_commands_at_once_make_nothing_forgotten(start, backend):
    """The first two are still known when more have come than there are places in the queue."""
    release = threading.Event()

    def late(connection, _):
        connection.hold(release)
        connection.say("250 2.1.0 Ok")
    backend.on("MAIL", late)
    with start(backend, limits={"errors": 1000}).log_in() as client:
        client.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n" + "GIBBERISH\r\n" * 150)
        backend.wait(lambda: backend.session().verbs[-1] == "MAIL", "MAIL")
        release.set()
        assert [client.reply().code for _ in range(152)] == [250] * 2 + [500] * 150
        client.send(b"BDAT 6 LAST\r\ntext\r\n")
        client.reply(250)
    assert backend.session().chunked == [b"text\r\n"]


def test_backend_that_cannot_pipeline_is_asked_one_by_one(start, backend):
    backend.extensions = ("SIZE 1000",)
    outstanding = []

    def one_at_a_time(connection, line):
        # Had the next command been sent ahead, it would be in the buffer by now.
        outstanding.append(connection._buffer)
        connection.say("250 2.0.0 Ok")
    backend.on("NOOP", one_at_a_time)
    with start(backend).log_in() as client:
        client.send("NOOP\r\n" * 50)
        for _ in range(50):
            client.reply(250)
    assert outstanding == [b""] * 50


def test_commands_behind_a_refused_data_are_commands(one, backend, session):
    """Only the reply to DATA says whether a message follows."""
    backend.on("DATA", "503 5.5.1 No recipients")
    one.send("DATA\r\nNOOP\r\nRSET\r\n")
    assert [one.reply().code for _ in range(3)] == [503, 250, 250]
    assert session.messages == [] and session.verbs[-3:] == ["DATA", "NOOP", "RSET"]


def test_nothing_is_sent_behind_data_before_its_reply(one, backend, session):
    seen = []

    def late(connection, _):
        seen.append(connection.sent_ahead(0.2))
        connection.say("354 Go ahead")
        connection.take_message()
    backend.on("DATA", late)
    one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\ntext\r\n.\r\n")
    assert [one.reply().code for _ in range(4)] == [250, 250, 354, 250]
    assert seen == [b""]
    assert session.messages == [b"text\r\n.\r\n"]


# ends

def test_quit_is_the_backends_to_answer(one, backend):
    backend.on("QUIT", "221 2.0.0 Farewell")
    assert one.quit().lines == ["2.0.0 Farewell"]


@pytest.mark.parametrize("how", ["drop", "reset", "hang"])
def test_accepted_message_is_not_sent_again_for_a_backend_lost_at_quit(start, backend, how):
    """There are mailers that take 421 to QUIT for a failed delivery."""
    postern = start(backend, timeouts={"backend_reply": 1})
    release = threading.Event()
    backend.on("QUIT", lambda connection, _: connection.hold(release) if how == "hang"
               else getattr(connection, how)())
    try:
        with postern.log_in() as client:
            client.send_message("a@b.test", ["c@d.test"], b"x\r\n")
            client.quit()
        record = postern.session_record(client)
        assert record["messages"] == "1" and record["end"] != "quit"
    finally:
        release.set()


def test_backend_lost_at_quit_is_told_where_a_reply_is_missing(one, backend):
    """221 is no answer to the command before it."""
    backend.on("NOOP", lambda connection, _: connection.drop())
    one.send("NOOP\r\nQUIT\r\n")
    one.reply(421)
    one.expect_closed()


def test_backend_that_leaves_is_told_to_the_client(postern, one, backend):
    backend.on("NOOP", lambda connection, _: connection.drop())
    one.command("NOOP", 421)
    one.expect_closed()
    assert postern.session_record(one)["end"] == "backend closed"


def test_backend_that_leaves_an_idle_session_is_told_too(postern, one, session):
    session.socket.shutdown(2)
    one.reply(421)
    one.expect_closed()


def test_backends_own_farewell_is_passed_on_alone(postern, one, backend):
    def leave(connection, _):
        connection.say("421 4.3.2 Going down for a while")
        connection.drop()
    backend.on("NOOP", leave)
    assert one.command("NOOP", 421).lines == ["4.3.2 Going down for a while"]
    one.expect_closed()
    assert postern.session_record(one)["end"] == "backend said 421"


def test_farewell_that_nobody_asked_for_is_passed_on(postern, one, session):
    """RFC 5321 section 3.8."""
    session.say("421 4.4.2 You have been silent for too long")
    session.socket.shutdown(2)
    assert "silent" in one.reply(421).text
    one.expect_closed()


@pytest.mark.parametrize("said, cause", [
    (b"250 2.0.0 Nobody asked\r\n", "nobody asked"),
    (b"hello\r\n", "not a reply"),
    (b"\0\0\0\0\r\n", "not a reply"),
    (b"250-a\r\n251 b\r\n", ""),
    (b"2" * 5000, "over-long"),
])
def test_backend_that_loses_the_thread_ends_the_session(postern, one, session, said, cause):
    session.send(said)
    one.reply(421)
    one.expect_closed()
    record = postern.session_record(one)
    assert cause in record["end"] and "backend" in record["end"]


def test_client_hears_nothing_that_follows_nonsense(one, backend):
    backend.on("NOOP", lambda connection, _: connection.send(b"ssh-2.0\r\n250 2.0.0 Fine\r\n"))
    one.command("NOOP", 421)
    one.expect_closed()


def test_reply_more_than_was_asked_ends_the_session(postern, one, backend):
    """A client would take it for the answer to its next command."""
    backend.on("RSET", lambda connection, _: connection.send(
        b"250 2.0.0 Ok\r\n250 2.0.0 And another\r\n"))
    one.command("RSET", 250)
    one.reply(421)
    one.expect_closed()


def test_challenge_in_the_wrong_place_ends_the_session(one, backend):
    backend.on("MAIL", "354 Go ahead already")
    one.send("MAIL FROM:<a@b.test>\r\n")
    one.reply(421)
    one.expect_closed()


def test_replies_in_pieces_are_put_together(one, backend):
    def crumble(connection, _):
        for byte in b"250-2.0.0 One\r\n250 2.0.0 Two\r\n":
            connection.send(bytes([byte]))
    backend.on("NOOP", crumble)
    assert one.command("NOOP", 250).lines == ["2.0.0 One", "2.0.0 Two"]


def test_control_characters_of_the_backend_do_not_reach_the_client(one, backend):
    backend.on("NOOP", lambda connection, _: connection.send(b"250 2.0.0 a\x1b[2J\0b\r\n"))
    assert one.command("NOOP", 250).lines == ["2.0.0 a?[2J?b"]


def test_backend_reply_lines_may_end_in_a_bare_line_feed(one, backend):
    backend.on("NOOP", lambda connection, _: connection.send(b"250 2.0.0 Ok\n"))
    one.command("NOOP", 250)


# half-closes and resets

def test_client_that_has_ended_sending_gets_its_replies(one, backend, session):
    """Threat 25; and the late reply is not lost."""
    release = threading.Event()

    def late(connection, _):
        connection.hold(release)
        connection.say("250 2.0.0 Late but here")
    backend.on("message", late)
    one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
    for code in (250, 250, 354):
        one.reply(code)
    one.send("text\r\n.\r\n")
    one.close_notify()
    one.end_sending()
    backend.wait(lambda: session.messages, "the message")
    release.set()
    # The TLS object has said goodbye and decrypts no more: the record on the wire is the reply.
    assert one.socket.recv(4096)
    backend.wait(lambda: session.ended, "the end")


@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
@pytest.mark.parametrize("sent", ["", "half a lin", "half a message\r\n.", "\r\n.\r"])
def test_half_message_is_never_ended(one, backend, session, how, sent):
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send(sent)
    getattr(one, how)()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert session.messages == []
    assert not re.search(rb"\.\r?\n\Z", bytes(session.received).partition(b"DATA\r\n")[2])


@pytest.mark.parametrize("how", ["drop", "reset"])
def test_backend_that_goes_in_the_middle_of_a_message(postern, one, backend, how):
    backend.on("begin", lambda connection, _: getattr(connection, how)())
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.reply(421)
    one.expect_closed()


def test_backend_that_goes_instead_of_acknowledging(postern, one, backend):
    """Promise 4: no 250 but the backend's."""
    backend.on("message", lambda connection, _: connection.drop())
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send("text\r\n.\r\n")
    one.reply(421)
    one.expect_closed()
    assert postern.session_record(one)["messages"] == "0"


def test_client_that_leaves_ends_the_backends_session(one, backend, session):
    one.close()
    backend.wait(lambda: session.ended, "the end of the backend's session")


# back-pressure

def test_backend_that_reads_nothing_stops_the_client(start, backend):
    """Promise 9: what it does not take is not piled up here."""
    postern = start(backend, environment=LEAN)
    release = threading.Event()
    backend.on("begin", lambda connection, _: connection.hold(release))
    reactor = postern.sole("reactor")
    one = postern.log_in()
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    before = processes.resident_bytes(reactor)
    one.socket.settimeout(1)
    line, sent = b"x" * 998 + b"\r\n", 0
    with pytest.raises(TimeoutError):
        while sent < 100_000_000:
            one.send(line * 100)
            sent += len(line) * 100
    assert sent < 50_000_000
    assert processes.resident_bytes(reactor) - before < 2_000_000
    release.set()
    one.close()


def test_client_that_reads_nothing_stops_the_backend(start, backend):
    postern = start(backend, environment=LEAN)
    reactor = postern.sole("reactor")
    lines = (b"250-" + b"x" * 500 + b"\r\n") * 2000
    stalled = threading.Event()

    def flood(connection, _):
        connection.socket.settimeout(1)
        try:
            for _ in range(100):
                connection.socket.sendall(lines)
        except TimeoutError:
            stalled.set()
        connection.drop()
    backend.on("NOOP", flood)
    with postern.log_in(receive_buffer=4096) as one:
        before = processes.resident_bytes(reactor)
        one.send("NOOP\r\n")
        assert stalled.wait(wait.PATIENCE), "all of it went somewhere"
        assert processes.resident_bytes(reactor) - before < 2_000_000


def test_slow_reader_gets_all_of_it(postern, backend):
    text = "".join(f"250-{number} {'y' * 400}\r\n" for number in range(3000)) + "250 end\r\n"
    backend.on("NOOP", lambda connection, _: connection.send(text))
    with postern.log_in(receive_buffer=4096) as one:
        reply = one.command("NOOP", 250)
        assert [line.split()[0] for line in reply.lines[:-1]] == [str(n) for n in range(3000)]


# deadlines

def test_idle_session_ends(start, backend):
    postern = start(backend, timeouts={"idle": 1})
    with postern.log_in() as one:
        one.reply(421)
        one.expect_closed()
    assert postern.session_record(one)["end"] == "idle for too long"
    backend.wait(lambda: backend.session().ended, "the end of the backend's session")


def test_busy_session_does_not_count_as_idle(start, backend):
    postern = start(backend, timeouts={"idle": 1})
    with postern.log_in() as one:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            one.command("NOOP", 250)


@pytest.mark.parametrize("step", ["NOOP", "DATA", "message"])
def test_backend_that_does_not_answer_in_time(start, backend, step):
    postern = start(backend, timeouts={"backend_reply": 1})
    release = threading.Event()
    backend.on(step, lambda connection, _: connection.hold(release))
    try:
        with postern.log_in() as one:
            one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
            one.reply(250)
            one.reply(250)
            one.send("NOOP\r\n" if step == "NOOP" else "DATA\r\n")
            if step == "message":
                one.reply(354)
                one.send("x\r\n.\r\n")
            one.reply(421)
            one.expect_closed()
        assert postern.session_record(one)["end"] == "backend did not answer in time"
    finally:
        release.set()


def test_nothing_goes_out_behind_a_message_before_its_reply(start, backend):
    """Courier throws away what it has read together with the end of a message; and one that saw
    another end than Postern did gets nothing that it could take for commands."""
    held = threading.Event()

    def answer(connection, _):
        connection.hold(held)
        connection.say("250 2.0.0 Queued")
    backend.on("message", answer)
    with start(backend).log_in() as one:
        for _ in range(2):
            one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
            assert [one.reply().code for _ in range(3)] == [250, 250, 354]
            one.send("x\r\n.\r\nMAIL FROM:<e@f.test>\r\nRSET\r\n")
            session = backend.session()
            backend.wait(lambda: len(session.messages) > 0, "the message")
            assert session.received.endswith(b"x\r\n.\r\n") or held.is_set()
            held.set()
            assert [one.reply().code for _ in range(3)] == [250, 250, 250]
            assert session.received.endswith(b"RSET\r\n")
        one.quit()


@pytest.mark.parametrize("command", ["NOOP", "VRFY bob", "EXPN all", "HELP"])
def test_commands_that_end_a_group_do_so_for_the_server_too(start, backend, command):
    """RFC 2920: some clients do not mind it, and Exim closes then."""
    held = threading.Event()

    def answer(connection, _):
        connection.hold(held)
        connection.say("250 2.0.0 Ok")
    backend.on(command.split()[0], answer)
    with start(backend).log_in() as one:
        one.send(f"MAIL FROM:<a@b.test>\r\n{command}\r\nRCPT TO:<c@d.test>\r\nRSET\r\n")
        session = backend.session()
        one.reply(250)
        backend.wait(lambda: command.encode() in session.commands, command)
        assert session.received.endswith(command.encode() + b"\r\n")
        held.set()
        assert [one.reply().code for _ in range(3)] == [250, 250, 250]
        one.quit()


@pytest.mark.parametrize("hello", ["EHLO", "HELO"])
def test_greeting_that_the_server_refuses_changes_nothing(start, backend, hello):
    """RFC 5321 section 4.1.4: what was offered before it is offered still, and chunks go on."""
    with start(backend).log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("BDAT 3\r\nx\r\n")
        one.reply(250)
        backend.on(hello, "501 5.5.4 Not such a name")
        one.send(f"{hello} under_score\r\nBDAT 3 LAST\r\ny\r\n")
        assert [one.reply().code for _ in range(2)] == [501, 250]
        one.quit()
    assert backend.session().chunked == [b"x\r\ny\r\n"]


def test_etrn_goes_alone(start, backend):
    """Sendmail repeats what it has not said yet: replies would no longer be those to what was
    asked."""
    held, asked = threading.Event(), []

    def answer(connection, line):
        asked.append((line, bytes(connection.received)))
        connection.hold(held)
        connection.say("250 2.0.0 Ok")
    backend.on("RCPT", answer).on("ETRN", answer)
    with start(backend).log_in() as one:
        one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nETRN b.test\r\netrn c.test\r\n"
                 "RSET\r\nQUIT\r\n")
        backend.wait(lambda: asked, "RCPT")
        held.set()
        assert [one.reply().code for _ in range(6)] == [250] * 5 + [221]
        one.expect_closed()
    assert [line for line, _ in asked] == [b"RCPT TO:<c@d.test>", b"ETRN b.test", b"etrn c.test"]
    for line, received in asked:
        assert received.endswith(line + b"\r\n")
