"""Threat 49: a message that the mail server has whole is not cut off before its reply, whoever
ends the session: its client would send it again."""

import re
import signal
import threading

import pytest

from support import control, wait

WAITS = re.compile("^sessions with a message whose reply is awaited")


@pytest.fixture
def verdict(backend):
    """Set when the mail server may answer the message that it has."""
    allowed = threading.Event()

    def late(connection, _):
        connection.hold(allowed)
        connection.say("250 2.0.0 Queued")
    backend.on("message", late)
    backend.on("chunk", lambda connection, line: late(connection, line)
               if b"LAST" in line else connection.say("250 2.0.0 Chunk taken"))
    yield allowed
    allowed.set()


def send_whole(backend, client, way="DATA"):
    client.envelope()
    if way == "DATA":
        client.command("DATA", 354)
        client.send("Subject: x\r\n\r\n.\r\n")
        backend.wait(lambda: backend.session().messages, "the message")
    else:
        client.send("BDAT 6 LAST\r\nx: y\r\n")
        backend.wait(lambda: any(last for _, last, _ in backend.session().chunks), "the chunk")


def expect_verdict_and_end(client, verdict):
    verdict.set()
    client.reply(250)
    client.reply(421)
    client.expect_closed()


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_threat_49_kick_lets_the_reply_to_a_whole_message_through(start, backend, verdict, way):
    postern = start(backend)
    with postern.log_in() as client:
        send_whole(backend, client, way)
        assert control.post(postern, "/kick?user=alice")["ended"] == 1
        assert control.get(postern, "/sessions")["total"] == 1
        expect_verdict_and_end(client, verdict)
    record = postern.session_record(client)
    assert record["end"] == "ended by the postmaster" and record["messages"] == "1"


def test_threat_49_session_that_was_kicked_sends_nothing_more(start, backend, verdict):
    postern = start(backend)
    with postern.log_in() as client:
        send_whole(backend, client)
        client.send("MAIL FROM:<second@b.test>\r\n")
        assert control.post(postern, "/kick?user=alice")["ended"] == 1
        client.send("RCPT TO:<c@d.test>\r\n")
        expect_verdict_and_end(client, verdict)
    assert b"second" not in backend.everything_received()


def test_kick_ends_a_session_whose_reply_never_comes(start, backend, verdict):
    postern = start(backend, timeouts={"backend_reply": 2})
    with postern.log_in() as client:
        send_whole(backend, client)
        assert control.post(postern, "/kick?user=alice")["ended"] == 1
        assert client.reply(421).status == "4.4.2"
        client.expect_closed()


def test_kick_ends_half_a_message_at_once(start, backend, verdict):
    postern = start(backend)
    with postern.log_in() as client:
        client.envelope()
        client.command("DATA", 354)
        client.send("Subject: x\r\n")
        assert control.post(postern, "/kick?user=alice")["ended"] == 1
        client.reply(421)
        client.expect_closed()
    backend.wait(lambda: backend.session().ended, "the end")
    assert not backend.session().messages


def test_threat_49_stop_that_is_out_of_time_lets_the_reply_through(start, backend, verdict):
    """Those whose message is not whole are cut off meanwhile."""
    postern = start(backend, timeouts={"drain": 0})
    with postern.log_in() as client, postern.log_in("bob", "builder") as other:
        send_whole(backend, client)
        other.envelope()
        postern.signal(signal.SIGTERM)
        other.reply(421)
        other.expect_closed()
        postern.wait_for_record(level="notice", msg=WAITS)
        expect_verdict_and_end(client, verdict)
    assert postern.wait() == 0


def test_threat_49_nobody_is_killed_before_the_mail_server_must_have_answered(
        start, backend, verdict):
    """The time of "backend_reply" is longer here than the master's patience after "drain"."""
    postern = start(backend, timeouts={"drain": 0, "backend_reply": 8})
    with postern.log_in() as client:
        send_whole(backend, client)
        postern.signal(signal.SIGTERM)
        assert client.reply(421).status == "4.4.2"
        client.expect_closed()
    assert postern.wait() == 0


def test_second_sigterm_waits_for_no_reply(start, backend, verdict):
    postern = start(backend, timeouts={"drain": 0})
    postern.forgive()
    with postern.log_in() as client:
        send_whole(backend, client)
        postern.signal(signal.SIGTERM)
        postern.wait_for_record(level="notice", msg=WAITS)
        postern.signal(signal.SIGTERM)
        assert client.receive_rest() == b""
    postern.wait()


def test_threat_49_session_of_before_a_reload_gets_its_reply(start, backend, verdict):
    postern = start(backend, timeouts={"drain": 0, "reload": 1})
    reactor = postern.sole("reactor")
    with postern.log_in() as client:
        send_whole(backend, client)
        postern.reload()
        postern.wait_for_record(level="notice", msg=WAITS)
        expect_verdict_and_end(client, verdict)
    wait.until(lambda: reactor not in postern.pids("reactor"), "the end of the old reactor")
