"""Ends and replies at odd places: nobody waits for something that has come already."""

import pytest


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
