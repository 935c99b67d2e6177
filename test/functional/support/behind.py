"""What each real mail server has to be seen to do behind Postern.

A server is any object with `delivered(subject)`, the message with LF as line ends, once it is
there; and `accepted()`, how many messages it has said 250 to so far.
"""

import hashlib
import random

#: What one server or another takes for the end of a message (threat 7).
ENDS = ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r.\n", "\n.\r",
        "\r\r\n.\r\r\n", "\r\n.\0\r\n", "\r\n\0.\r\n", "\0\r\n.\n"]

LARGE_BYTES = 20_000_000


def mail(subject, body="x\r\n"):
    return f"Subject: {subject}\r\nFrom: alice@mail.test\r\n\r\n{body}".encode()


def _digest(body):
    return hashlib.sha256(body).hexdigest()


def large_message_arrives_whole(front, server, subject):
    """20 MB of what cannot be compressed or guessed, in lines, compared by their hash."""
    lines = [random.Random(number).randbytes(38).hex() for number in range(LARGE_BYTES // 78)]
    body = "\r\n".join(lines) + "\r\n"
    with front.log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject, body))
        one.quit()
    stored = server.delivered(subject).partition(b"\n\n")[2]
    assert len(stored) > LARGE_BYTES * 0.98
    assert _digest(stored.rstrip(b"\n")) == _digest("\n".join(lines).encode())


def pipelined_commands_are_answered_in_order(front, server, subject):
    """Whether the server behind can do it itself or not."""
    with front.log_in() as one:
        one.send("MAIL FROM:<alice@mail.test>\r\nRCPT TO:<bob@mail.test>\r\nNOOP\r\nRSET\r\n"
                 "MAIL FROM:<carol@mail.test>\r\nRCPT TO:<bob@mail.test>\r\nXYZZY\r\nDATA\r\n")
        codes = [one.reply().code for _ in range(8)]
        assert codes[:6] == [250] * 6 and codes[6] >= 500 and codes[7] == 354
        one.send(mail(subject) + b".\r\nMAIL FROM:<alice@mail.test>\r\nRSET\r\nQUIT\r\n")
        assert [one.reply().code for _ in range(4)] == [250, 250, 250, 221]
        one.expect_closed()
    assert server.delivered(subject)


def no_second_message_is_smuggled(front, server, subject):
    """Each end of data but the true one stays in the message that it came in."""
    for number, end in enumerate(ENDS):
        before = server.accepted()
        honest = f"{subject} {number}"
        with front.log_in() as one:
            one.send_message("alice@mail.test", ["bob@mail.test"], mail(
                honest, f"honest{end}MAIL FROM:<forged@mail.test>\r\nRCPT TO:<bob@mail.test>\r\n"
                f"DATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"))
            one.quit()
        assert b"MAIL FROM:<forged@mail.test>" in server.delivered(honest), repr(end)
        assert server.accepted() == before + 1, repr(end)


def outage_in_the_middle_loses_and_doubles_nothing(front, server, subject, fail, recover):
    """`fail()` ends the server's sessions while a message is on its way: the client hears that
    it failed, and when it comes again behind `recover()` there is one message."""
    before = server.accepted()
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.command("DATA", 354)
        one.send(mail(subject, "half a line"))
        fail()
        try:
            one.reply(421)
        finally:  # other tests have the same server
            recover()
    assert server.accepted() == before
    with front.log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject, "whole\r\n"))
        one.quit()
    assert b"whole" in server.delivered(subject)
    assert server.accepted() == before + 1


def outage_before_the_message_loses_and_doubles_nothing(front, server, subject, fail, recover):
    """`fail()` ends the server's sessions between RCPT and DATA: nothing is taken that has nowhere
    to go, and behind `recover()` the next session is served."""
    before = server.accepted()
    with front.log_in() as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        fail()
        try:
            one.reply(421)
            one.expect_closed()
        finally:
            recover()
    assert server.accepted() == before
    with front.log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject, "whole\r\n"))
        one.quit()
    assert b"whole" in server.delivered(subject)
    assert server.accepted() == before + 1
