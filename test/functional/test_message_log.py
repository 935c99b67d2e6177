"""A line for each message: who sent it to whom, how large it was, where it went, and what the mail
server said to it, so that one search leads from Postern's log to the mail server's."""

import json
import re
import threading

import pytest

from support import control, wait
from support.client import Client

SENDER, FIRST, SECOND = "a@b.test", "c@d.test", "e@f.test"


def messages_of(postern, client, count=1):
    """The records of a client's messages, which are so many, once its session has ended."""
    end = postern.session_record(client)
    records = postern.find_records(event="message", id=end["id"])
    assert len(records) == count, postern.output()
    lines = [each for each in postern.records() if each.get("id") == end["id"]]
    assert lines[-1]["event"] == "session ended", "a message is told after its session"
    return records


def message_of(postern, client):
    return messages_of(postern, client)[0]


def envelope(client, *recipients, sender=SENDER):
    client.command(f"MAIL FROM:<{sender}>", 250)
    for each in recipients or (FIRST,):
        client.command(f"RCPT TO:<{each}>", 250)


def test_message_leads_to_the_mail_servers_own_log(postern, backend):
    backend.actions["message"] = "250 2.0.0 Ok: queued as 4XyZ12"
    with postern.log_in(source="127.0.0.44") as one:
        one.send_message(SENDER, [FIRST, SECOND], b"text\r\n..dot\r\n")
        one.quit()
    record = message_of(postern, one)
    for key, value in {
            "level": "info", "listener": "submissions", "client": "127.0.0.44",
            "port": str(one.port), "user": "alice", "from": SENDER, "to": f"{FIRST},{SECOND}",
            "recipients": "2", "size": "13", "backend": "default", "result": "accepted",
            "reply": "250 2.0.0 Ok: queued as 4XyZ12"}.items():
        assert record[key] == value, (key, record)
    assert int(record["duration_ms"]) < 20_000
    assert "recipients_refused" not in record and "repaired" not in record


def test_each_message_of_a_session_has_its_own_line(postern, backend):
    said = iter(["250 2.0.0 first", "550 5.7.1 second", "250-2.0.0 third\n250 2.0.0 is here"])
    backend.actions["message"] = lambda link, line: link.say(next(said))
    with postern.log_in() as one:
        for sender in "one@b.test", "two@b.test", "":
            envelope(one, sender=sender)
            one.command("DATA", 354)
            one.send("text\r\n.\r\n")
            one.reply()
        one.quit()
    records = messages_of(postern, one, 3)
    assert [(r["from"], r["result"], r["reply"]) for r in records] == [
        ("one@b.test", "accepted", "250 2.0.0 first"),
        ("two@b.test", "refused", "550 5.7.1 second"),
        ("", "accepted", "250-2.0.0 third")]


def test_message_is_told_while_its_client_stays(postern):
    """A mailer that keeps its connection for an hour is not waited for."""
    with postern.log_in() as one:
        one.send_message(SENDER, [FIRST], b"text\r\n")
        postern.wait_for_record(event="message", result="accepted")
        assert not postern.find_records(event="session ended", port=str(one.port))
        one.send_message(SENDER, [FIRST], b"text\r\n")
        one.command("NOOP", 250)
        postern.wait_for_record(event="message", count=2)
        one.quit()


def test_message_in_chunks_has_its_line(postern, backend):
    backend.actions["chunk"] = "250 2.0.0 Ok: queued as chunks"
    with postern.log_in() as one:
        envelope(one)
        one.send("BDAT 4\r\nab\r\nBDAT 6 LAST\r\ncdef\r\n")
        one.reply(250)
        one.reply(250)
        one.quit()
    record = message_of(postern, one)
    assert (record["size"], record["result"], record["reply"], record["to"]) == (
        "10", "accepted", "250 2.0.0 Ok: queued as chunks", FIRST)


def test_pipelined_envelope_is_kept_apart(postern, backend):
    """What is refused in one flight of commands is not told as accepted."""
    backend.actions["RCPT"] = lambda link, line: link.say(
        "550 5.1.1 Unknown" if b"bad" in line else "250 2.1.5 Ok")
    with postern.log_in() as one:
        one.send(f"MAIL FROM:<old@b.test>\r\nRCPT TO:<old@d.test>\r\nRSET\r\n"
                 f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<bad@d.test>\r\nRCPT TO:<{FIRST}>\r\n"
                 f"RCPT TO:<bad2@d.test>\r\nRCPT TO:<{SECOND}>\r\nDATA\r\n")
        for code in 250, 250, 250, 250, 550, 250, 550, 250, 354:
            one.reply(code)
        one.send("text\r\n.\r\n")
        one.reply(250)
        one.quit()
    old, new = messages_of(postern, one, 2)
    assert (old["from"], old["to"], old["result"]) == ("old@b.test", "old@d.test", "abandoned")
    assert (new["from"], new["to"], new["result"]) == (SENDER, f"{FIRST},{SECOND}", "accepted")
    assert (new["recipients"], new["recipients_refused"]) == ("2", "2")


@pytest.mark.parametrize("step, reply, recipients, refused", [
    ("MAIL", "552 5.3.4 Too big", "0", None),
    ("RCPT", "554 5.7.1 Relay access denied", "0", "1"),
    ("DATA", "451 4.3.0 Try again", "1", None),
    ("message", "550 5.7.1 Spam", "1", None),
])
@pytest.mark.parametrize("end", ["QUIT", "RSET", "MAIL"])
def test_refused_message_has_one_line_with_the_reply(postern, backend, step, reply, recipients,
                                                     refused, end):
    backend.actions.update({step: reply} if step != "RCPT" else
                           {step: reply, "DATA": "554 5.5.1 Error: no valid recipients"})
    with postern.log_in() as one:
        for line in (f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{FIRST}>", "DATA"):
            code = one.command(line).code
        if code == 354:
            one.send("text\r\n.\r\n")
            one.reply()
        if end != "QUIT":
            backend.actions.pop(step)
            one.command("RSET" if end == "RSET" else "MAIL FROM:<next@b.test>", 250)
        one.quit()
    record = message_of(postern, one)
    assert (record["result"], record["reply"], record["from"]) == ("refused", reply, SENDER)
    assert (record["recipients"], record.get("recipients_refused")) == (recipients, refused)
    assert record.get("to") == (None if step == "MAIL" else FIRST)


def test_chunks_that_the_mail_server_refuses_are_told(postern, backend):
    backend.actions["chunk"] = "550 5.7.1 Spam"
    with postern.log_in() as one:
        envelope(one)
        one.send("BDAT 4\r\nab\r\nBDAT 4 LAST\r\nab\r\n")
        one.reply(550)
        one.expect_closed()
    record = message_of(postern, one)
    assert (record["result"], record["reply"]) == ("refused", "550 5.7.1 Spam")


def test_message_that_postern_refuses_is_told(start, backend):
    postern = start(backend, bare_newline="reject")
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("bare\nline\r\n.\r\n")
        said = one.reply(554, 550, 521)
        one.expect_closed()
    record = message_of(postern, one)
    assert record["result"] == "refused" and record["reply"] == f"{said.code} {said.lines[0]}"


def test_recipients_that_are_not_ours_are_told(start, backend, scratch):
    """An mx: of all refused, the line names them."""
    known = scratch / "recipients"
    known.write_text("ours@example.org\n")
    listen = {"mx": {"address": "127.0.0.1:%d" % wait.free_port(), "role": "mx",
                     "tls": "starttls", "recipients": known}}
    postern = start(backend, listen=listen)
    host, port = listen["mx"]["address"].rsplit(":", 1)
    for pipelined in False, True:
        with Client((host, int(port))) as one:
            one.greeting()
            one.ehlo()
            lines = [f"MAIL FROM:<{SENDER}>", "RCPT TO:<no@example.org>",
                     "RCPT TO:<nor@example.org>"]
            if pipelined:
                one.send("".join(f"{line}\r\n" for line in lines))
            for line in lines:
                if not pipelined:
                    one.send(f"{line}\r\n")
                said = one.reply()
            one.quit()
        record = message_of(postern, one)
        assert "user" not in record
        assert (record["result"], record["recipients"], record["recipients_refused"]) == (
            "refused", "0", "2")
        assert record["to"] == "no@example.org,nor@example.org"
        assert record["reply"] == f"{said.code} {said.lines[0]}"


def test_message_that_its_client_gives_up_is_told(postern):
    with postern.log_in() as one:
        envelope(one)
        one.command("RSET", 250)
        one.command(f"MAIL FROM:<{SENDER}>", 250)
        one.quit()
    record = message_of(postern, one)
    assert (record["result"], record["to"]) == ("abandoned", FIRST) and "reply" not in record


def test_half_message_is_told_as_lost(postern):
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("half of it\r\n")
        one.close()
    assert message_of(postern, one)["result"] == "lost"


def test_message_without_an_answer_is_told_as_such(postern, backend):
    """Whoever sends it again should know that it may have been accepted."""
    backend.actions["message"] = lambda link, line: link.drop()
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("text\r\n.\r\n")
        one.reply(421)
        one.expect_closed()
    record = message_of(postern, one)
    assert record["result"] == "unanswered" and record["size"] == "6"


@pytest.mark.parametrize("held", ["half", "whole"])
def test_message_of_a_session_that_is_kicked_is_told(postern, backend, held):
    released = threading.Event()

    def answer(link, _):
        link.hold(released)
        link.say("250 2.0.0 Ok: queued after all")
    backend.actions["message"] = answer
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("text\r\n" + (".\r\n" if held == "whole" else ""))
        if held == "whole":
            backend.wait(lambda: any(link.messages for link in backend.connections), "the message")
        else:
            backend.wait(lambda: b"text" in backend.everything_received(), "its half")
        control.post(postern, "/kick?user=alice")
        released.set()
        one.receive_rest()
    record = message_of(postern, one)
    assert record["result"] == ("accepted" if held == "whole" else "lost")


def test_half_message_of_a_session_that_a_stop_ends_is_told(start, backend):
    postern = start(backend, timeouts={"drain": 1})
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("half of it\r\n")
        backend.wait(lambda: b"half of it" in backend.everything_received(), "the half")
        postern.stop()
        one.receive_rest()
    assert [r["result"] for r in postern.find_records(event="message")] == ["lost"]


def test_message_whose_mail_server_is_silent_is_told(start, backend):
    """It may have been accepted."""
    released = threading.Event()
    backend.actions["message"] = lambda link, _: link.hold(released)
    postern = start(backend, timeouts={"backend_reply": 1})
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("text\r\n.\r\n")
        one.reply(421)
    released.set()
    assert message_of(postern, one)["result"] == "unanswered"


def test_repaired_line_ends_are_told_with_the_message(postern):
    with postern.log_in() as one:
        envelope(one)
        one.command("DATA", 354)
        one.send("bare\nline\n\r\n.\r\n")
        one.reply(250)
        one.quit()
    assert message_of(postern, one)["repaired"] == "2"


def test_many_recipients_are_counted_and_the_first_are_named(start, backend):
    postern = start(backend, log={"recipients": 3})
    everybody = [f"user{number}@d.test" for number in range(40)]
    with postern.log_in() as one:
        one.send(f"MAIL FROM:<{SENDER}>\r\n" +
                 "".join(f"RCPT TO:<{each}>\r\n" for each in everybody) + "DATA\r\n")
        for _ in range(42):
            one.reply(250, 354)
        one.send("text\r\n.\r\n")
        one.reply(250)
        one.quit()
    record = message_of(postern, one)
    assert (record["to"], record["recipients"]) == (",".join(everybody[:3]), "40")


def test_names_are_left_out_where_the_postmaster_wants_it(start, backend):
    postern = start(backend, log={"recipients": 0})
    with postern.log_in() as one:
        one.send_message(SENDER, [FIRST], b"text\r\n")
        one.quit()
    record = message_of(postern, one)
    assert "to" not in record and record["recipients"] == "1" and record["from"] == SENDER


def test_messages_are_not_told_where_the_postmaster_wants_it(start, backend):
    postern = start(backend, log={"messages": False})
    with postern.log_in() as one:
        one.send_message(SENDER, [FIRST], b"text\r\n")
        one.quit()
    messages_of(postern, one, 0)
    assert SENDER not in postern.output()


@pytest.mark.parametrize("style", ["text", "json"])
def test_threat_17_envelope_and_reply_stay_in_their_fields(start, backend, style):
    """What a sender, a recipient and a mail server write forges no field and no line."""
    backend.actions["message"] = '250 "\x1b[2J user=root " \\ result=lost' + "x" * 3000
    postern = start(backend, log={"format": style})
    sender = '"a\\" user=root \xfc"@b.test'.encode()
    recipients = ["\u202eabc@d.test", '"x y"@d.test', "z" * 600 + "@d.test", "last@d.test"]
    with postern.log_in() as one:
        one.send(b"MAIL FROM:<" + sender + b"> BODY=8BITMIME\r\n")
        one.reply(250)
        for each in recipients:
            one.command(f"RCPT TO:<{each}>", 250)
        one.command("DATA", 354)
        one.send("text\r\n.\r\n")
        one.reply(250)
        one.quit()
    line, = [each for each in postern.output().splitlines()
             if re.search('event="message"|event=message|"event":"message"', each)] or [None]
    assert line and "\x1b" not in line and "\u202e" not in line
    record, = postern.find_records(event="message")
    if style == "json":
        assert isinstance(json.loads(line)["recipients"], int)
    assert record["user"] == "alice" and record["result"] == "accepted"
    assert record["reply"].startswith('250 "?[2J user=root') and len(record["reply"]) < 257
    assert record["to"].endswith(",last@d.test") and "z" * 200 in record["to"]
    assert "z" * 300 not in record["to"]


def test_nothing_is_lost_when_postern_stops_at_once(postern):
    """A line that waited for its session's is written before the end."""
    with postern.log_in() as one:
        one.send_message(SENDER, [FIRST], b"text\r\n")
        postern.stop()
    assert [r["result"] for r in postern.find_records(event="message")] == ["accepted"]
