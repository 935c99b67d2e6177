"""Messages: what arrives is what was sent, and ends where the client ended it."""

import random
import threading

import pytest

from support import backend as backends
from support import processes, wait
from support.postern import LEAN

# What a client sends between DATA and the end, and what may arrive: (name, sent, arrives).
# Everything is followed by the proper end.
WHOLE = {
    "nothing": b"",
    "empty line": b"\r\n",
    "text": b"Subject: x\r\n\r\ntext\r\n",
    "stuffed dots": b"..\r\n..one\r\n...two\r\n",
    "dot that is not stuffed": b".one\r\n",
    "dots inside": b"a.\r\nb.c\r\n. \r\n.\t\r\n",
    "empty lines": b"\r\n" * 50,
    "8-bit": bytes(range(128, 256)) + b"\r\n",
    "control characters": bytes(b for b in range(1, 32) if b not in b"\r\n") + b"\x7f\r\n",
    "no short lines": b"x" * 100_000 + b"\r\n",
}

REPAIRED = {
    "bare line feeds": (b"one\ntwo\n\nthree\r\n", b"one\r\ntwo\r\n\r\nthree\r\n"),
    "bare returns": (b"one\rtwo\r\rthree\r\r\n", b"one two  three \r\n"),
    "NUL": (b"a\0b\0\r\n\0\r\n", b"a b \r\n \r\n"),
    "LF.LF": (b"a\n.\nb\r\n", b"a\r\n..\r\nb\r\n"),
    "LF.CRLF": (b"a\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n"),
    "CRLF.LF": (b"a\r\n.\nb\r\n", b"a\r\n..\r\nb\r\n"),
    "CR.CRLF": (b"a\r.\r\nb\r\n", b"a .\r\nb\r\n"),
    "CR.CR": (b"a\r.\rb\r\n", b"a . b\r\n"),
    "CRLF.CR": (b"a\r\n.\rb\r\n", b"a\r\n. b\r\n"),
    "LF.CR.LF": (b"a\n.\r.\nb\r\n", b"a\r\n.. .\r\nb\r\n"),
    "CRLF.NUL": (b"a\r\n.\0\r\nb\r\n", b"a\r\n. \r\nb\r\n"),
    "LF and a dot word": (b"a\n.b\r\n", b"a\r\n..b\r\n"),
}


@pytest.fixture
def ready(postern, backend):
    """A client behind RCPT, and its backend's side."""
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        yield one, backend.session()


def send(ready, message, pieces=None):
    """DATA, the message in pieces of such a size, and the end; returns what has arrived."""
    one, session = ready
    one.command("DATA", 354)
    message += b".\r\n"
    for start in range(0, len(message), pieces or len(message)):
        one.send(message[start:start + (pieces or len(message))])
    one.reply(250)
    one.command("NOOP", 250)
    assert len(session.messages) == 1
    return session.messages[0]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("pieces", [None, 1, 7])
def test_whole_messages_arrive_byte_for_byte(ready, name, pieces):
    message = WHOLE[name]
    if len(message) > 10_000 and pieces:
        pieces *= 1000
    assert send(ready, message, pieces) == message + b".\r\n"


@pytest.mark.parametrize("name", REPAIRED)
@pytest.mark.parametrize("pieces", [None, 1, 2, 3])
def test_bare_line_ends_are_made_whole(ready, name, pieces):
    """Promise 5, threat 7; wherever the packets are cut."""
    sent, arrives = REPAIRED[name]
    assert send(ready, sent, pieces) == arrives + b".\r\n"


@pytest.mark.parametrize("name", REPAIRED)
def test_repairs_are_told_in_the_log(postern, ready, name):
    send(ready, REPAIRED[name][0])
    ready[0].quit()
    assert int(postern.session_record(ready[0])["repaired"]) > 0


def test_ordinary_messages_are_not_called_repaired(postern, ready):
    send(ready, WHOLE["text"])
    ready[0].quit()
    assert "repaired" not in postern.session_record(ready[0])


def send_rejected(one, message):
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)
    one.send(message + b".\r\n")
    one.reply(521)
    one.expect_closed()


@pytest.mark.parametrize("name", REPAIRED)
def test_bare_line_ends_can_be_rejected(start, backend, name):
    postern = start(backend, bare_newline="reject")
    with postern.log_in() as one:
        send_rejected(one, REPAIRED[name][0])
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert session.messages == []


def test_what_was_rejected_is_not_called_repaired(start, backend):
    postern = start(backend, bare_newline="reject")
    with postern.log_in() as one:
        send_rejected(one, b"a\nb\r\n")
    assert "repaired" not in postern.session_record(one)


def test_rejecting_does_not_touch_whole_messages(start, backend):
    with start(backend, bare_newline="reject").log_in() as one:
        for message in WHOLE.values():
            one.send_message("a@b.test", ["c@d.test"], message)
    assert backend.session().messages == [each + b".\r\n" for each in WHOLE.values()]


SMUGGLED = b"MAIL FROM:<forged@b.test>\r\nRCPT TO:<victim@d.test>\r\nDATA\r\nsmuggled\r\n.\r\n"


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r",
                                 b"\r.\n", b"\n.\r", b"\r\n.\0\r\n", b"\n.\0\n", b"\0\r\n.\n\0",
                                 b"\r\n\r.\r\n", b"\r\n\0.\r\n"])
@pytest.mark.parametrize("pieces", [None, 1])
def test_threat_07_no_message_ends_early_for_a_credulous_backend(start, backend, end, pieces):
    backend.ends = backends.CREDULOUS_ENDS
    with start(backend).log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        ready = one, backend.session()
        send(ready, b"honest" + end + SMUGGLED.replace(b"\r\n.\r\n", b"\r\n"), pieces)
    assert backend.session().verbs.count("MAIL") == 1
    assert b"forged" in backend.session().messages[0]


def test_only_crlf_dot_crlf_ends_and_the_rest_are_commands(ready):
    one, session = ready
    one.command("DATA", 354)
    one.send(b"first\r\n.\r\nMAIL FROM:<e@f.test>\r\nNOOP\r\n")
    assert [one.reply().code for _ in range(3)] == [250, 250, 250]
    assert session.messages == [b"first\r\n.\r\n"]
    assert session.commands[-2:] == [b"MAIL FROM:<e@f.test>", b"NOOP"]


@pytest.mark.parametrize("cut", range(1, 9))
def test_end_may_be_cut_anywhere(ready, cut):
    one, session = ready
    one.command("DATA", 354)
    whole = b"x\r\n.\r\nNOOP\r\n"
    one.send(whole[:cut])
    one.send(whole[cut:])
    one.reply(250)
    one.reply(250)
    assert session.messages == [b"x\r\n.\r\n"]


def test_message_of_one_dot_is_empty(ready):
    assert send(ready, b"") == b".\r\n"


def test_many_messages_in_one_session(postern, backend):
    with postern.log_in() as one:
        for number in range(50):
            one.send_message("a@b.test", ["c@d.test", "e@f.test"], b"%d\r\n" % number)
        one.quit()
    assert backend.session().messages == [b"%d\r\n.\r\n" % number for number in range(50)]
    record = postern.session_record(one)
    assert (record["messages"], record["recipients"]) == ("50", "100")


def big(size):
    """Lines of all lengths, with dots, from a fixed seed."""
    dice = random.Random(size)
    block = b"".join(b"%s%s\r\n" % (dice.choice([b"", b"..", b"a"]),
                                    dice.randbytes(dice.randrange(0, 200)).translate(
                                        bytes(range(32, 127)) + b"x" * 161))
                     for _ in range(5000))
    return (block * (size // len(block) + 1))[:size - 2].rstrip(b"\r") + b"\r\n"


@pytest.mark.parametrize("size", [4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 1_000_000])
def test_messages_of_all_sizes_arrive(ready, size):
    message = big(size)
    assert send(ready, message) == message + b".\r\n"


@pytest.mark.parametrize("how", ["implicit", "starttls"])
def test_25_megabytes_arrive_and_cost_no_memory(start, backend, how):
    postern = start(backend, environment=LEAN)
    reactor = postern.sole("reactor")
    message = big(25_000_000)
    with postern.log_in(tls=how) as one:
        before = processes.resident_bytes(reactor)
        one.send_message("a@b.test", ["c@d.test"], message)
        assert processes.resident_bytes(reactor) - before < 6_000_000
        one.quit()
    assert backend.session().messages == [message + b".\r\n"]
    assert int(postern.session_record(one)["bytes_in"]) > 25_000_000


def test_size_that_the_backend_refuses(ready, backend):
    one, _ = ready
    one.command("RSET", 250)
    backend.on("MAIL", "552 5.3.4 Too large")
    one.command("MAIL FROM:<a@b.test> SIZE=999999999", 552)


def test_backend_may_answer_before_the_message_ends(ready, backend):
    """The reply comes at once and is the only one; the backend hears nothing of the rest."""
    one, session = ready
    backend.on("DATA", lambda connection, _: (connection.say("354 Go"), connection._line(),
                                              connection.say("552 5.3.4 That is enough")))
    one.command("DATA", 354)
    one.send(b"a beginning\r\n")
    one.reply(552)
    one.send(b"and an end\r\n.\r\nNOOP\r\n")
    one.expect_closed()
    assert b"and an end" not in session.received and session.verbs[-1] == "DATA"


def test_acceptance_before_the_end_is_not_believed(postern, ready, backend):
    """Promise 4: what a backend accepts without having seen it, it may not have."""
    one, session = ready
    backend.on("DATA", lambda connection, _: (connection.say("354 Go"),
                                              connection.say("250 2.0.0 Fine, fine")))
    one.command("DATA", 354)
    one.send(b"a beginning\r\n")
    one.reply(421)
    one.expect_closed()
    assert postern.session_record(one)["messages"] == "0"


def test_temporary_refusal_of_a_message_is_passed_on(postern, ready, backend):
    one, _ = ready
    backend.on("message", "451 4.3.0 Try later")
    one.command("DATA", 354)
    one.send(b"x\r\n.\r\n")
    assert one.reply(451).lines == ["4.3.0 Try later"]
    one.quit()
    assert postern.session_record(one)["messages"] == "0"


# BDAT

def test_chunks_arrive_byte_for_byte(ready):
    """Nothing in them is a command or an end (threat 8)."""
    one, session = ready
    chunks = [b"\r\n.\r\nQUIT\r\n", b".\r", b"\n\r\n", bytes(range(14, 256)) * 300, b""]
    for number, chunk in enumerate(chunks):
        last = b" LAST" if number == len(chunks) - 1 else b""
        one.send(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
        one.reply(250)
    one.command("NOOP", 250)
    assert session.chunked == [b"".join(chunks)]
    assert session.chunks[-1][1]


def test_chunks_may_be_pipelined_and_cut_anywhere(ready):
    one, session = ready
    stream = b"BDAT 6\r\nEHLO x" + b"BDAT 0\r\n" + b"BDAT 4 LAST\r\nRSETNOOP\r\n"
    for byte in stream:
        one.send(bytes([byte]))
    assert [one.reply().code for _ in range(4)] == [250] * 4
    assert session.chunked == [b"EHLO xRSET"]


def test_chunk_that_the_backend_refuses_is_still_no_command(ready, backend):
    """The backend reads and refuses it; the client may have sent it all."""
    one, session = ready
    backend.on("chunk", "550 5.7.1 No")
    one.send(b"BDAT 13 LAST\r\nXCLIENT A=B\r\nNOOP\r\n")
    one.reply(550)
    one.expect_closed()
    assert session.verbs[-1] == "BDAT"


@pytest.mark.parametrize("arguments", ["", "LAST", "-1", "1x", "0x10", "9223372036854775808",
                                       "18446744073709551617", "5 FIRST", "+5", "5 LAST x"])
def test_bdat_that_cannot_be_read_closes(ready, arguments):
    """Where the chunk would end, is not known: nothing behind it may be taken for a command."""
    one, session = ready
    one.send(f"BDAT {arguments}\r\nMAIL FROM:<x@y>\r\n")
    one.reply(501)
    one.expect_closed()
    assert session.verbs[-1] == "RCPT"


def test_bdat_where_it_is_not_offered_closes(start, backend):
    backend.extensions = ("PIPELINING", "BINARYMIME")
    with start(backend).log_in() as one:
        assert "BINARYMIME" not in one.ehlo()
        one.send("BDAT 10 LAST\r\nRSET\r\nNOOP\r\n")
        one.reply(503)
        one.expect_closed()
    assert not {"BDAT", "RSET", "NOOP"} & set(backend.session().verbs)


def test_half_chunk_is_never_completed(ready, backend):
    one, session = ready
    one.send(b"BDAT 1000 LAST\r\nhalf")
    one.reset()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert not any(last for _, last, _ in session.chunks)


def test_huge_chunk_flows(ready):
    one, session = ready
    chunk = random.Random(1).randbytes(5_000_000).translate(None, b"\r\n\0")
    one.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
    one.reply(250)
    assert session.chunked == [chunk]


def test_two_sessions_do_not_mix(postern, backend):
    """Both in the middle of a message, in turns."""
    senders = [postern.log_in("alice", "wonderland"), postern.log_in("bob", "builder")]
    texts = [[], []]
    for one in senders:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
    for turn in range(200):
        for number, one in enumerate(senders):
            line = b"%d of %d\r\n" % (turn, number) * 20
            texts[number].append(line)
            one.send(line)
    for one in senders:
        one.send(b".\r\n")
        one.reply(250)
        one.close()
    for number in (0, 1):
        (session,) = [s for s in backend.sessions
                      if s.identity["LOGIN"] == ("alice", "bob")[number]]
        assert session.messages == [b"".join(texts[number]) + b".\r\n"]


def test_many_sessions_at_once(start, backend):
    postern = start(backend, workers=2, auth={"workers": 4})
    failures = []

    def work(number):
        try:
            message = big(30_000 + number)
            with postern.log_in(source=f"127.0.2.{number + 1}") as one:
                for _ in range(5):
                    one.send_message("a@b.test", ["c@d.test"], message)
                one.quit()
        except Exception as failure:
            failures.append(failure)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(wait.PATIENCE * 3)
    assert not failures
    assert sum(len(session.messages) for session in backend.sessions) == 200
    assert {len(message) for session in backend.sessions for message in session.messages} == {
        30_000 + number + 3 for number in range(40)}


@pytest.mark.parametrize("end", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r\n.\r"],
                         ids=["LF.LF", "CRLF.LF", "LF.CRLF", "CRLF.CR"])
@pytest.mark.parametrize("how", ["waits", "closes"])
def test_log_says_that_what_a_client_took_for_the_end_was_none(start, backend, end, how):
    """Devices end a message like that, and wait for ever for the reply."""
    postern = start(backend, timeouts={"idle": 1 if how == "waits" else 60})
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        one.send(b"Subject: x\r\n\r\ntext" + end)
        if how == "closes":
            one.end_sending()
        else:
            one.reply(421)
        one.receive_rest()
        assert "after a dot that does not end a message" in postern.session_record(one)["end"]
    assert backend.session().messages == []
