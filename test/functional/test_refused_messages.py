"""A message that the backend refuses, early, late or twice, never becomes commands, and never
becomes somebody else's 250."""

import pytest

from support import control
from test_mx import begun, start_mx

#: What an attacker puts into a message for a backend that reads it as commands.
COMMANDS = (b"MAIL FROM:<forged@b.test> AUTH=root@example.org\r\n"
            b"RCPT TO:<victim@elsewhere.example>\r\nXCLIENT ADDR=8.8.8.8 LOGIN=root\r\n"
            b"DATA\r\nsmuggled\r\n.\r\n")
FORGED = (b"forged", b"victim", b"LOGIN=root", b"smuggled")


def commands_of(backend):
    return b"\n".join(line for each in backend.connections for line in each.commands)


def assert_nothing_forged(backend):
    said = commands_of(backend)
    assert not [word for word in FORGED if word in said], said


def unread(reply):
    """A backend that answers BDAT without reading the chunk."""
    return lambda connection, _: connection.say(reply)


# Threat 30: a chunk that the backend does not read

@pytest.mark.parametrize("identity", ["xclient", "auth-param", "trace"])
@pytest.mark.parametrize("before", [b"", b"MAIL FROM:<a@b.test>\r\n"])
def test_threat_30_chunk_without_a_recipient_is_answered_here(start, backend, identity, before):
    backend.on("BDAT", unread("503 5.5.1 No recipients"))
    with start(backend, backend={"identity": identity}).log_in() as one:
        one.send(before + b"BDAT %d LAST\r\n%sNOOP\r\n" % (len(COMMANDS), COMMANDS))
        if before:
            one.reply(250)
        assert [one.reply().code for _ in range(2)] == [503, 250]
    assert "BDAT" not in backend.session().verbs
    assert_nothing_forged(backend)


def test_threat_30_stranger_at_an_mx_relays_nothing_by_a_chunk(start, backend):
    backend.on("BDAT", unread("503 5.5.1 No recipients"))
    mx = start_mx(start, backend, identity="trace", recipients=["example.org"])
    with begun(mx) as one:
        one.command("RCPT TO:<victim@elsewhere.example>", 550)
        one.send(b"BDAT %d LAST\r\n%s" % (len(COMMANDS), COMMANDS))
        one.reply(503)
        one.command("NOOP", 250)
    assert_nothing_forged(backend)


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("reply", ["503 5.5.1 Not now", "452 4.3.1 Later", "421 4.3.2 Gone",
                                   "550-5.7.1 No\n550 5.7.1 never"])
def test_threat_30_backend_that_never_reads_chunks_gets_no_line_of_one(start, backend, reply, trace):
    """It has accepted a recipient, and offers CHUNKING."""
    backend.on("BDAT", unread(reply))
    postern = start(backend, backend={"trace": trace})
    with postern.log_in() as one:
        one.envelope()
        one.send(b"BDAT %d LAST\r\n%s" % (len(COMMANDS), COMMANDS))
        answer = one.reply(int(reply[:3]))
        assert "\n".join(f"{answer.code} {line}" for line in answer.lines) == reply.replace("-", " ")
        one.expect_closed()
    backend.wait(lambda: backend.session().ended, "the end of the backend's session")
    assert_nothing_forged(backend)
    assert postern.session_record(one)["backend_refused"] == "1"


def test_threat_30_silent_backend_gets_no_line_of_a_chunk(start, backend):
    backend.on("BDAT", lambda connection, _: None)
    with start(backend, timeouts={"backend_reply": 1}).log_in() as one:
        one.envelope()
        one.send(b"BDAT %d LAST\r\n%s" % (len(COMMANDS), COMMANDS))
        one.reply(421)
        one.expect_closed()
    assert_nothing_forged(backend)


def test_threat_30_refused_chunk_is_the_last_that_the_backend_hears(postern, backend):
    """It may have read all of the chunk, or none: nothing that follows is sent to find out."""
    backend.on("chunk", "552 5.3.4 Too large")
    with postern.log_in() as one:
        one.envelope()
        one.send(b"BDAT 12 LAST\r\nXCLIENT A=B\nRSET\r\nNOOP\r\n".replace(b"B\n", b"BC"))
        one.reply(552)
        one.expect_closed()
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert session.verbs[-1] == "BDAT"
    assert postern.session_record(one)["end"] == "backend refused a chunk"


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("between", ["DATA", "NOOP", "RCPT TO:<e@d.test>", "MAIL FROM:<a@b.test>"])
def test_threat_30_backend_that_forgets_a_message_gets_no_line_of_its_rest(
        start, backend, between, trace):
    """Some forget the recipients at a command that they refuse in the middle of a message."""
    forgotten = []

    def chunk(connection, line):
        if forgotten:
            connection.say("503 5.5.1 No recipients")
        else:
            connection.take_chunk(line)
            connection.say("250 2.0.0 Ok")
    backend.on("BDAT", chunk)
    with start(backend, backend={"trace": trace}).log_in() as one:
        one.envelope()
        one.send(b"BDAT 6\r\ntext\r\n")
        one.reply(250)

        def forget(connection, _):
            forgotten.append(True)
            connection.say("503 5.5.1 Not now")
        backend.on(between[:4], forget)
        one.command(between, 503)
        one.send(b"BDAT %d LAST\r\n%s" % (len(COMMANDS), COMMANDS))
        one.reply(503)
        one.expect_closed()
    backend.wait(lambda: backend.session().ended, "the end of the backend's session")
    assert_nothing_forged(backend)


def test_command_between_two_chunks_changes_nothing_in_the_message(postern, backend):
    with postern.log_in() as one:
        one.envelope()
        for chunk, last in ((b"one\r\n", b""), (b"two\r\n", b""), (b"3", b""), (b"", b" LAST")):
            one.send(b"BDAT %d%s\r\n%sNOOP\r\n" % (len(chunk), last, chunk))
            assert [one.reply().code for _ in range(2)] == [250, 250]
    assert backend.session().chunked == [b"one\r\ntwo\r\n3"]


def test_recipient_that_was_refused_makes_no_chunk(postern, backend):
    backend.on("RCPT", "550 5.1.1 Nobody")
    with postern.log_in() as one:
        one.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 4\r\nQUITBDAT 4 LAST\r\nRSET"
                 b"NOOP\r\n")
        assert [one.reply().code for _ in range(5)] == [250, 550, 503, 503, 250]
    assert not {"BDAT", "QUIT", "RSET"} & set(backend.session().verbs)


@pytest.mark.parametrize("command", ["RSET", "EHLO again.example", "HELO again.example"])
def test_envelope_that_was_taken_back_makes_no_chunk(postern, backend, command):
    with postern.log_in() as one:
        one.envelope()
        one.command(command, 250)
        one.send(b"BDAT 4 LAST\r\nxxxx")
        one.reply(503)
    assert "BDAT" not in backend.session().verbs


def test_chunks_without_a_recipient_are_mistakes_of_the_clients(start, backend):
    with start(backend, limits={"errors": 3}).log_in() as one:
        for _ in range(3):
            one.send(b"BDAT 4 LAST\r\nxxxx")
            one.reply(503)
        one.reply(421)
        one.expect_closed()


# Threat 31: an answer in the middle of a message

def early(reply, lines=1):
    """A backend that answers after so many lines, and reads commands then."""
    def data(connection, _):
        connection.say("354 Go ahead")
        for _ in range(lines):
            connection._line()
        connection.say(reply)
    return data


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@pytest.mark.parametrize("reply", ["552 5.3.4 Enough", "451 4.3.0 Not now", "421 4.3.2 Going down",
                                   "552-5.3.4 Enough\n552 5.3.4 of that"])
def test_threat_31_rest_of_a_refused_message_goes_nowhere(postern, backend, reply, tls):
    backend.on("DATA", early(reply, 3))
    with postern.log_in(tls=tls) as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"one\r\ntwo\r\nthree\r\n")
        answer = one.reply(int(reply[:3]))
        assert len(answer.lines) == reply.count("\n") + 1
        one.send(COMMANDS)
        one.expect_closed()
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert session.verbs[-1] == "DATA"
    record = postern.session_record(one)
    assert record["messages"] == "0" and record["backend_refused"] == "1"
    assert record["backend_reply"].startswith(reply[:9])
    assert record["end"] == ("backend said 421" if reply.startswith("421")
                             else "backend refused a message before its end")


@pytest.mark.parametrize("code", [200, 250, 299])
def test_half_message_is_not_accepted(postern, backend, code):
    """Threat 31. The client would not send it again."""
    backend.on("DATA", early(f"{code} 2.0.0 Fine", 3))
    with postern.log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"one\r\ntwo\r\nthree\r\n")
        one.reply(421)
        one.expect_closed()
    record = postern.session_record(one)
    assert record["messages"] == "0"
    assert record["end"] == "backend accepted a message that was not at its end"


def test_threat_31_client_that_listens_late_still_hears_the_refusal(postern, backend):
    """Most read nothing before they have sent all of the message."""
    backend.on("DATA", early("552 5.3.4 Enough"))
    with postern.log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"Subject: x\r\n")
        backend.wait(lambda: backend.session().ended, "the end of the backend's session")
        one.send(b"x" * 998 + b"\r\n" + (b"y" * 998 + b"\r\n") * 20_000)
        one.send(b".\r\n")
        one.reply(552)
        one.expect_closed()


def test_threat_31_answer_in_pieces_lets_nothing_through(postern, backend):
    """Between its first line and its last."""
    def in_two(connection, _):
        connection.say("354 Go ahead")
        connection._line()
        connection.send(b"552-5.3.4 Enough\r\n")
        connection.received += connection.sent_ahead(1)
        connection.send(b"552 5.3.4 of that\r\n")
    backend.on("DATA", in_two)
    with postern.log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"one\r\n")
        assert one.line() == b"552-5.3.4 Enough"
        one.send(COMMANDS)
        assert one.line() == b"552 5.3.4 of that"
        one.expect_closed()
    assert b"LOGIN=root" not in backend.session().received


@pytest.mark.parametrize("surplus", ["250 2.0.0 Queued after all", "421 4.3.2 Gone", "hello"])
def test_threat_31_client_hears_nothing_that_follows_the_refusal(postern, backend, surplus):
    def both(connection, _):
        connection.say("354 Go ahead")
        connection._line()
        connection.send("552 5.3.4 Enough\r\n" + surplus + "\r\n")
    backend.on("DATA", both)
    with postern.log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"one\r\n")
        one.reply(552)
        one.send(b"two\r\n.\r\n")
        one.expect_closed()
    assert postern.session_record(one)["end"] == "backend refused a message before its end"


def test_threat_31_flood_after_a_refusal_is_bounded(start, backend):
    backend.on("DATA", early("552 5.3.4 Enough"))
    with start(backend).log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send(b"x\r\n")
        one.reply(552)
        with pytest.raises(OSError):
            for _ in range(200):
                one.send((b"y" * 998 + b"\r\n") * 1000)


# Threat 32

@pytest.mark.parametrize("reply", ["300 Go", "334 VXNlcm5hbWU6", "355 Go ahead", "250 2.0.0 Ok",
                                   "220 Ok"])
@pytest.mark.parametrize("role", ["submission", "mx"])
def test_threat_32_only_354_begins_a_message(start, backend, reply, role):
    backend.on("DATA", unread(reply))
    if role == "mx":
        one = begun(start_mx(start, backend, recipients=["example.org"]))
        one.command("RCPT TO:<bob@example.org>", 250)
    else:
        one = start(backend).log_in()
        one.envelope()
    with one:
        one.send(b"DATA\r\n")
        one.reply(421)
        one.expect_closed()
    assert backend.session().verbs[-1] == "DATA"


# Threat 34: bare line ends in chunks

BARE = {
    "LF": b"a\nb\r\n", "LF.LF": b"a\r\n\n.\nMAIL FROM:<forged@b.test>\r\n", "CR": b"a\rb\r\n",
    "NUL": b"a\0b\r\n", "LF at the start": b"\nab\r\n", "CR at the end": b"abc\r",
    "CR CRLF": b"a\r\r\n", "LF at the end": b"ab\n", "far": b"x" * 70_000 + b"\n.\n",
}


@pytest.mark.parametrize("mode", ["normalize", "reject"])
@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("pieces", [None, 1])
def test_threat_34_bare_line_end_in_a_chunk_is_refused(start, backend, name, mode, pieces):
    chunk = BARE[name]
    if pieces and len(chunk) > 1000:
        pieces = 1999
    postern = start(backend, bare_newline=mode)
    with postern.log_in() as one:
        one.envelope()
        stream = b"BDAT %d LAST\r\n" % len(chunk) + chunk
        try:
            for start_ in range(0, len(stream), pieces or len(stream)):
                one.send(stream[start_:start_ + (pieces or len(stream))])
        except OSError:
            pass  # it was refused before all of it was sent
        one.reply(521)
        one.expect_closed()
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert not any(last for _, last, _ in session.chunks)
    assert postern.session_record(one)["messages"] == "0"


@pytest.mark.parametrize("command", ["DATA", "BDAT"])
def test_client_that_listens_late_still_hears_what_was_wrong(start, backend, command):
    """The rest of its message is read, as it listens to nothing before it has sent that."""
    text = b"a\nb\r\n" + (b"x" * 998 + b"\r\n") * 20_000
    with start(backend, bare_newline="reject").log_in() as one:
        one.envelope()
        if command == "DATA":
            one.command("DATA", 354)
        else:
            one.send(b"BDAT %d LAST\r\n" % len(text))
        one.send(text[:1000])
        backend.wait(lambda: backend.session().ended, "the end of the backend's session")
        one.send(text[1000:] + (b".\r\n" if command == "DATA" else b""))
        one.reply(521)
        one.expect_closed()


@pytest.mark.parametrize("chunks", [(b"a\r", b"b\n"), (b"a\r", b""), (b"a\0", b""), (b"a", b"\n")])
def test_threat_34_bare_line_end_between_chunks_is_refused(postern, backend, chunks):
    with postern.log_in() as one:
        one.envelope()
        first, last = chunks
        one.send(b"BDAT %d\r\n%sBDAT %d LAST\r\n%s" % (len(first), first, len(last), last))
        codes = [one.reply().code]
        if codes == [250]:
            codes.append(one.reply().code)
        assert codes[-1] == 521
        one.expect_closed()
    assert not any(last for _, last, _ in backend.session().chunks)


def test_chunk_of_one_byte_is_no_command(postern, backend):
    """Threat 30. Whether it comes with its BDAT or after it."""
    with postern.log_in() as one:
        one.envelope()
        for byte in b"QUIT\r":
            one.send(b"BDAT 1\r\n%c" % byte)
            one.reply(250)
        one.send(b"BDAT 1 LAST\r\n")
        one.send(b"\n")
        one.reply(250)
        one.quit()
    assert backend.session().chunked == [b"QUIT\r\n"]


def test_line_end_may_lie_between_two_chunks(postern, backend):
    with postern.log_in() as one:
        one.envelope()
        for chunk, last in ((b"a\r\nb\r", b""), (b"\nc\r\n.\r\n", b""), (b"", b" LAST")):
            one.send(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
            one.reply(250)
    assert backend.session().chunked[0] == b"a\r\nb\r\nc\r\n.\r\n"


def test_binary_message_that_was_announced_arrives_byte_for_byte(start, backend):
    backend.extensions += ("BINARYMIME",)
    chunk = bytes(range(256)) + b"\n.\n\0\r.\r"
    with start(backend).log_in() as one:
        one.command("MAIL FROM:<a@b.test> BODY=BINARYMIME", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send(b"BDAT %d LAST\r\n%s" % (len(chunk), chunk))
        one.reply(250)
    assert backend.session().chunked == [chunk]


@pytest.mark.parametrize("said", [
    b"MAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRSET\r\nMAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<a@b.test>\r\nMAIL FROM:<a@b.test> BODY=BINARYMIME\r\n",
    b"MAIL FROM:<BODY=BINARYMIME@b.test>\r\n", b"MAIL FROM:<a@b.test> X=BODY=BINARYMIME\r\n",
    b"MAIL FROM:<a@b.test> BODY=BINARYMIMES\r\n",
])
def test_binary_message_has_to_be_announced_for_this_envelope(start, backend, said):
    backend.extensions += ("BINARYMIME",)
    accepted = []

    def nested(connection, _):
        fresh = "RSET" in connection.verbs or not accepted
        accepted.append(fresh)
        connection.say("250 2.1.0 Ok" if fresh else "503 5.5.1 Nested MAIL")
    backend.on("MAIL", nested)
    with start(backend).log_in() as one:
        one.send(said)
        for _ in range(said.count(b"\r\n")):
            one.reply()
        one.command("RCPT TO:<c@d.test>", 250)
        one.send(b"BDAT 4 LAST\r\na\nb\n")
        one.reply(521)


# Threat 44: replies that do not belong together

@pytest.mark.parametrize("trace", [False, True])
def test_threat_44_surplus_reply_is_no_verdict_on_a_chunk(start, backend, trace):
    backend.on("RCPT", lambda connection, _: connection.send(b"250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n"))
    backend.on("chunk", "552 5.2.2 Full")
    postern = start(backend, backend={"trace": trace})
    with postern.log_in() as one:
        one.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 6 LAST\r\ntext\r\nQUIT\r\n")
        assert [one.reply().code for _ in range(3)] == [250, 250, 421]
        one.expect_closed()
    assert postern.session_record(one)["messages"] == "0"


def test_threat_44_chunk_waits_for_each_reply_before_it(postern, backend):
    seen = []

    def late(connection, _):
        seen.append(connection.sent_ahead(0.2))
        connection.say("250 2.1.5 Ok")
    backend.on("RCPT", late)
    with postern.log_in() as one:
        one.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 6 LAST\r\ntext\r\nNOOP\r\n")
        assert [one.reply().code for _ in range(4)] == [250, 250, 250, 250]
    assert seen == [b""]


@pytest.mark.parametrize("command", ["NOOP", "MAIL FROM:<a@b.test>", "VRFY x"])
def test_threat_44_session_ends_with_a_421_that_stays(postern, backend, command):
    """And nothing that it says later is taken for an answer."""
    backend.on(command[:4], "421 4.3.2 Going down some day")
    with postern.log_in() as one:
        one.send(command + "\r\nRSET\r\n")
        one.reply(421)
        one.expect_closed()
    backend.wait(lambda: backend.session().ended, "the end of the backend's session")
    assert postern.session_record(one)["end"] == "backend said 421"


@pytest.mark.parametrize("command", ["XCLIENT LOGIN=root", "EHLO", "FOO"])
def test_threat_44_nothing_of_ours_is_said_after_a_421(postern, backend, command):
    """Not even the answer to a command that came together with the one that got it."""
    backend.on("MAIL", "421 4.3.2 Going down some day")
    with postern.log_in() as one:
        one.send("MAIL FROM:<a@b.test>\r\n" + command + "\r\n")
        one.reply(421)
        one.expect_closed()


def test_threat_44_session_ends_with_an_unasked_421_that_stays(postern, backend):
    with postern.log_in() as one:
        backend.session().say("421 4.3.2 Going down\n421 4.3.2 some day")
        one.reply(421)
        one.expect_closed()


# a reply of our own is never said inside of one of the backend's

def test_threat_44_half_reply_gets_no_second_code_by_nonsense(postern, backend):
    backend.on("message", lambda connection, _: connection.send(
        b"250-2.0.0 queued as 17\r\nnonsense\r\n"))
    with postern.log_in() as one:
        one.envelope()
        one.command("DATA", 354)
        one.send("x\r\n.\r\n")
        assert one.line() == b"250-2.0.0 queued as 17"
        one.expect_closed()
    assert "not a reply" in postern.session_record(one)["end"]


@pytest.mark.parametrize("rest", [b"2" * 5000, b"421 4.3.2 Sorry\r\n", b"251 2.0.0 b\r\n"])
def test_threat_44_half_reply_gets_no_second_code(postern, backend, rest):
    backend.on("NOOP", lambda connection, _: connection.send(b"250-2.0.0 a\r\n" + rest))
    with postern.log_in() as one:
        one.send("NOOP\r\n")
        assert one.line() == b"250-2.0.0 a"
        one.expect_closed()


def test_threat_44_half_reply_gets_no_second_code_by_expiry(start, backend):
    backend.on("NOOP", lambda connection, _: connection.send(b"250-2.0.0 a\r\n"))
    with start(backend, timeouts={"backend_reply": 1}).log_in() as one:
        one.send("NOOP\r\n")
        assert one.line() == b"250-2.0.0 a"
        one.expect_closed()


def test_threat_44_half_reply_gets_no_second_code_by_a_postmaster(postern, backend):
    backend.on("NOOP", lambda connection, _: connection.send(b"250-2.0.0 a\r\n"))
    with postern.log_in() as one:
        one.send("NOOP\r\n")
        assert one.line() == b"250-2.0.0 a"
        (found,) = control.get(postern, "/sessions")["sessions"]
        assert control.post(postern, "/kick?id=" + found["id"])["ended"] == 1
        one.expect_closed()


def test_threat_44_no_reply_goes_into_an_unasked_one(postern, backend):
    with postern.log_in() as one:
        session = backend.session()
        session.send(b"421-4.3.2 Going\r\n")
        assert one.line() == b"421-4.3.2 Going"
        one.send("XCLIENT LOGIN=root\r\n")
        session.send(b"421 4.3.2 down\r\n")
        assert one.line() == b"421 4.3.2 down"
        one.expect_closed()


def test_threat_44_half_reply_of_a_backend_that_left(postern, backend):
    def leave(connection, _):
        connection.send(b"250-2.0.0 a\r\n")
        connection.drop()
    backend.on("NOOP", leave)
    with postern.log_in() as one:
        one.send("NOOP\r\n")
        assert one.line() == b"250-2.0.0 a"
        one.expect_closed()
    assert postern.session_record(one)["end"] == "backend closed"
