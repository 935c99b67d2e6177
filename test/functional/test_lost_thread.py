"""Ends and replies at odd places: nobody waits for something that has come already."""

import os
import socket

import pytest

from support.backend import Backend
from support.client import plain_response


def send_with_close_notify(client, data):
    """Commands and TLS's end of sending in one packet."""
    client.tls.write(data)
    try:
        client.tls.unwrap()
    except Exception:  # the other side has not ended yet
        pass
    client.socket.sendall(client._outgoing.read())


def without_pipelining(connection, _line):
    """One command at a time, so that the client's next ones are held back."""
    connection.say("250 fake.test\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN")


@pytest.fixture
def slow(start, backend):
    backend.on("EHLO", without_pipelining)
    return start(backend.address)


def test_end_that_came_with_held_back_commands_is_seen(slow, backend):
    with slow.log_in() as client:
        session = backend.session()
        send_with_close_notify(client, b"MAIL FROM:<a@b.test>\r\nNOOP\r\nRSET\r\n")
        assert slow.wait_for_record(event="session ended")["end"] == "client closed"
        assert session.verbs[-3:] == ["MAIL", "NOOP", "RSET"]


def test_end_that_came_while_data_was_awaited_is_seen(slow, backend):
    with slow.log_in() as client:
        session = backend.session()
        send_with_close_notify(
            client, b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nhalf a mess")
        ended = slow.wait_for_record(event="session ended")["end"]
        assert ended == "client closed in the middle of a message"
        assert not session.messages


def test_message_that_was_accepted_before_its_end_is_not_acknowledged(postern, backend):
    def accept_at_once(connection, _line):
        connection.send("354 Go ahead\r\n250 2.0.0 Queued\r\n")
        connection.take_message()

    backend.on("DATA", accept_at_once)
    with postern.log_in() as client:
        client.command("MAIL FROM:<a@b.test>", 250)
        client.command("RCPT TO:<c@d.test>", 250)
        client.command("DATA", 354)
        assert client.reply(421).lines[0].startswith("4.3.5")
    assert postern.wait_for_record(event="session ended")["messages"] == "0"


@pytest.mark.parametrize("last", ["", " LAST"])
def test_chunk_that_was_accepted_before_its_end_is_not_acknowledged(postern, backend, last):
    """Nor is a message in chunks: what the client has not sent, no backend has."""
    def accept_at_once(connection, line):
        connection.say("250 2.0.0 Queued")
        connection.take_chunk(line)

    backend.on("BDAT", accept_at_once)
    with postern.log_in() as client:
        client.command("MAIL FROM:<a@b.test>", 250)
        client.command("RCPT TO:<c@d.test>", 250)
        client.send(f"BDAT 1000{last}\r\nSubject: x")
        assert client.reply(421).lines[0].startswith("4.3.5")
    assert postern.wait_for_record(event="session ended")["messages"] == "0"


def test_refusal_in_the_middle_of_a_chunk_reaches_the_client(postern, backend):
    """Such as for a size that is too large; the rest of the chunk is thrown away."""
    backend.on("BDAT", lambda connection, _: connection.say("552 5.3.4 Too large"))
    with postern.log_in() as client:
        client.command("MAIL FROM:<a@b.test>", 250)
        client.command("RCPT TO:<c@d.test>", 250)
        client.send("BDAT 1000 LAST\r\nSubject: x")
        client.reply(552)
        client.send("x" * 990)
        client.expect_closed()


@pytest.mark.parametrize("size", [20000, 64500, 65400, 130000])
@pytest.mark.parametrize("line", [b"\n", b"0123456789012345678901234\n"])
def test_message_that_grows_by_its_repair_gets_through(postern, backend, line, size):
    """More is gathered for the backend than it takes to be congested, and all of it goes at once."""
    with postern.log_in() as client:
        session = backend.session()
        client.command("MAIL FROM:<a@b.test>", 250)
        client.command("RCPT TO:<c@d.test>", 250)
        client.command("DATA", 354)
        client.send((line * (size // len(line) + 1))[:size - 5] + b"\r\n.\r\n")
        client.reply(250)
        assert session.messages[0].count(b"\n") == session.messages[0].count(b"\r\n")


def test_bytes_behind_auth_are_counted_once(postern):
    sent = b"AUTH PLAIN " + plain_response("alice", "wonderland").encode() + b"\r\n"
    sent += b"NOOP\r\n" * 100 + b"QUIT\r\n"
    with postern.connect() as client:
        client.ehlo()
        client.send(sent)
        for code in [235] + [250] * 100 + [221]:
            client.reply(code)
        record = postern.session_record(client)
    assert int(record["bytes_in"]) == len(b"EHLO client.example\r\n") + len(sent)


@pytest.mark.parametrize("hello", ["HELO again.example", "EHLO again.example"])
def test_threat_08_bdat_is_refused_where_it_is_no_longer_offered(start, backend, hello):
    """After HELO, or an EHLO that offers less."""
    postern = start(backend.address)
    with postern.log_in() as client:
        session = backend.session()
        backend.on("EHLO", lambda connection, _: connection.say("250 fake.test"))
        client.command(hello, 250)
        client.command("BDAT 7 LAST", 503)
        assert "BDAT" not in session.verbs


def test_client_that_does_not_read_is_not_blamed_on_the_backend(start, backend):
    backend.on("NOOP", lambda connection, _: connection.say("250 " + "x" * 400))
    postern = start(backend.address, timeouts={"backend_reply": 3, "idle": 3})
    with postern.connect(receive_buffer=4096) as client:
        client.ehlo()
        client.login("alice", "wonderland", 235)
        client.socket.settimeout(0.5)
        try:
            while True:
                client.send(b"NOOP\r\n" * 1000)
        except OSError:
            pass
        ended = postern.wait_for_record(event="session ended", port=str(client.port))["end"]
    assert ended == "client does not read its replies"


def test_burst_of_logins_waits_for_a_unix_backend_with_a_short_queue(start, scratch):
    """As it would for TCP: a full queue is no outage."""
    class Short(Backend):
        def _listen(self, _host):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path)
            os.chmod(self.path, 0o666)
            listener.listen(1)
            return listener

    backend = Short(path=str(scratch / "short"))
    postern = start(backend, auth={"workers": 8, "share": 8}, limits={"connections_per_address": 0})
    clients = [postern.connect() for _ in range(24)]
    try:
        for client in clients:
            client.ehlo()
        for client in clients:
            client.send(f"AUTH PLAIN {plain_response('alice', 'wonderland')}\r\n")
        for client in clients:
            client.reply(235)
    finally:
        for client in clients:
            client.close()
        backend.close()
