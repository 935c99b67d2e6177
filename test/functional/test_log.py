"""The log: one line for each connection's end and each failed login, and nothing that a client
says leaves its field."""

import json
import os
import pathlib
import re
import socket

import pytest

from conftest import needs_root
from support import control, logfmt, postern as posterns, stuck_log, wait
from support.client import Client, b64, plain_response


def test_session_leaves_one_line_with_all_that_matters(postern):
    with postern.connect(source="127.0.0.44") as one:
        one.ehlo("laptop.example")
        one.login("alice", "wonderland")
        one.send_message("a@b.test", ["c@d.test", "e@f.test"], b"text\r\n")
        one.quit()
    record = postern.session_record(one)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"])
    assert record["level"] == "info"
    assert int(record["duration_ms"]) < 20_000
    assert int(record["bytes_in"]) > 100 and int(record["bytes_out"]) > 100
    for key, value in {
            "listener": "submissions", "client": "127.0.0.44", "port": str(one.port),
            "tls": "TLSv1.3", "mechanism": "PLAIN", "user": "alice", "helo": "laptop.example",
            "messages": "1", "recipients": "2", "end": "quit"}.items():
        assert record[key] == value, key
    assert record["cipher"].startswith("TLS_") and re.fullmatch(r"[0-9a-z]+", record["id"])
    assert len(postern.find_records(event="session ended", id=record["id"])) == 1


# what the mail server refuses

def refusals(record):
    return record.get("backend_refused"), record.get("backend_reply")


@pytest.mark.parametrize("pipelined", [False, True])
def test_recipients_that_the_mail_server_refuses_leave_a_trace(postern, backend, pipelined):
    """As a Postfix does that took XCLIENT and forgot the login. What only follows from it is
    not counted, and does not hide it."""
    backend.actions.update(RCPT="554 5.7.1 <c@d.test>: Relay access denied",
                           DATA="554 5.5.1 Error: no valid recipients")
    with postern.log_in() as one:
        lines = ["MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "RCPT TO:<e@f.test>", "DATA"]
        if pipelined:
            one.send("".join(f"{line}\r\n" for line in lines))
        for line in lines:
            if not pipelined:
                one.send(f"{line}\r\n")
            one.reply()
        one.quit()
    record = postern.session_record(one)
    assert (record["messages"], record["recipients"]) == ("0", "0")
    assert refusals(record) == ("2", "554 5.7.1 <c@d.test>: Relay access denied")


@pytest.mark.parametrize("step, reply, said", [
    ("MAIL", "552 5.3.4 Too big", "552 5.3.4 Too big"),
    ("RCPT", "450 4.2.0 Greylisted", "450 4.2.0 Greylisted"),
    ("DATA", "451 4.3.0 Try again", "451 4.3.0 Try again"),
    ("message", "550 5.7.1 Spam\n550 5.7.1 See the page", "550-5.7.1 Spam"),
])
def test_messages_that_the_mail_server_refuses_leave_a_trace(postern, backend, step, reply, said):
    backend.actions[step] = reply
    with postern.log_in() as one:
        for line in ("MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>", "DATA"):
            code = one.command(line).code
        if code == 354:
            one.send("text\r\n.\r\n")
            one.reply()
        one.quit()
    expected = {"MAIL": "1", "RCPT": "1", "DATA": "1", "message": "1"}[step]
    assert refusals(postern.session_record(one)) == (expected, said)


def test_chunks_that_the_mail_server_refuses_are_one_message(postern, backend):
    backend.actions["chunk"] = "550 5.7.1 Spam"
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send("BDAT 4\r\nab\r\nBDAT 4 LAST\r\nab\r\n")
        one.reply(550)
        one.expect_closed()
    assert refusals(postern.session_record(one)) == ("1", "550 5.7.1 Spam")


def test_what_the_mail_server_says_stays_in_its_field(postern, backend):
    """Threat 17, for a server that is hostile, or that repeats what a client has said."""
    backend.actions["RCPT"] = '550 "\x1b[2J\x07 user=root " \\ end=quit' + "x" * 3000
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        for _ in range(3):
            one.command("RCPT TO:<c@d.test>", 550)
        one.quit()
    record = postern.session_record(one)
    count, reply = refusals(record)
    assert count == "3" and record["user"] == "alice" and record["end"] == "quit"
    assert reply.startswith('550 "?[2J? user=root " \\ end=quitxxx') and len(reply) < 256


def test_nothing_refused_leaves_no_field(postern, backend):
    """Nor does what is no recipient and no message."""
    backend.actions["VRFY"] = "550 5.1.1 Nobody"
    with postern.log_in() as one:
        one.command("VRFY bob", 550)
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        one.quit()
    assert refusals(postern.session_record(one)) == (None, None)


def test_session_ids_differ(postern):
    for _ in range(5):
        postern.connect(None).quit()
    wait.until(lambda: len(postern.find_records(event="session ended")) == 5, "five ends")
    assert len({r["id"] for r in postern.find_records(event="session ended")}) == 5


def test_failed_login_leaves_a_line_of_its_own(postern):
    with postern.connect(source="127.0.0.45") as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
        one.command("AUTH PLAIN !!!", 501)
        one.close()
    failed = postern.find_records(event="login failed")
    end = postern.session_record(one)
    assert [(r["client"], r.get("user"), r["result"]) for r in failed] == [
        ("127.0.0.45", "alice", "rejected"), ("127.0.0.45", None, "malformed")]
    assert {r["id"] for r in failed} == {end["id"]}
    assert "user" not in end


def test_json_says_the_same(start, backend):
    postern = start(backend, log={"format": "json"})
    with postern.log_in() as one:
        one.quit()
    record = postern.wait_for_record(event="session ended")
    assert record["user"] == "alice" and record["end"] == "quit"
    assert record["port"] in (one.port, str(one.port))
    for line in postern.output().splitlines():
        assert isinstance(json.loads(line), dict)


#: What a start warns of before anything serves: in the file, on this host, of this process.
WARNED = {"backend": {"identity": "none"}, "auth": {"pam_service": "missing"},
          "limits": {"connections": 1000000}}
WARNINGS = ("must not relay", "nobody can log in", "descriptors")


def test_start_writes_nothing_that_a_reader_of_json_does_not_understand(start, backend):
    postern = start(backend, log={"format": "json"}, **WARNED)
    texts = [json.loads(line)["msg"] for line in postern.output().splitlines()]
    for warning in WARNINGS:
        assert any(warning in text for text in texts), (warning, texts)


HOSTILE = ["a\" user=\"root", "x\\", "tab\there", "\u202eabc", "\u0085next", "üser", "a=b c=d",
           "\x7f", "%s%n", "${jndi}", "'; --", "\ud800".encode("utf-8", "surrogatepass"),
           b"\xff\xfe\x80", "event=\"session ended\"", "{\"a\":1}"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("style", ["text", "json"])
def test_threat_17_hostile_names_stay_in_their_field(start, backend, text, style):
    """One record a line, no field but its own; the strict readers find no fault."""
    raw = text if isinstance(text, bytes) else text.encode()
    postern = start(backend, log={"format": style})
    with postern.connect() as one:
        one.send(b"EHLO " + raw.replace(b" ", b"") + b"\r\n")
        one.reply()
        one.ehlo()
        one.command("AUTH LOGIN", 334)
        if one.command(b64(raw)).code == 334:
            one.command(b64("wrong"), 535)
    record = postern.session_record(one) if style == "text" else \
        postern.wait_for_record(event="session ended")
    assert "user" not in record and record["client"] == "127.0.0.9"
    for failed in postern.find_records(event="login failed"):
        assert set(failed) <= {"time", "level", "pid", "process", "event", "id", "listener", "client",
                               "port", "user", "mechanism", "result", "reason"}
    assert all("\x1b" not in line for line in postern.output().splitlines())


@pytest.mark.parametrize("blank", ["\u115f", "\u3164", "\uffa0", "\u2800", "\u00a0"])
def test_blanks_of_unicode_in_a_name_are_seen(start, backend, blank):
    """In the log, and in posternctl's tables: "alice" with one behind it is not alice."""
    postern = start(backend)
    with postern.connect() as one:
        one.ehlo()
        one.command("AUTH LOGIN", 334)
        one.command(b64(f"alice{blank}"), 334)
        one.command(b64("wrong"), 535)
    record = postern.wait_for_record(event="login failed")
    line, = [each for each in postern.output().splitlines() if "login failed" in each]
    assert blank not in line and f'user="alice\\u{ord(blank):04x}"' in line, record
    assert blank not in control.posternctl(postern, "failures")
    assert "alice?" in control.posternctl(postern, "failures")


def test_threat_17_no_password_is_logged_at_any_level(start, backend):
    """Nor its base64, whole or part, whether right, wrong or malformed."""
    secret = "Gr3enSecretTea"
    postern = start(backend, log={"level": "debug"}, auth={"pam_service": "users", "attempts": 50},
                    limits={"errors": 100})
    responses = [plain_response("alice", secret), plain_response("alice", secret, authzid="bob"),
                 b64("\0alice\0x\0" + secret), b64("alice\0" + secret), plain_response("", secret)]
    with postern.connect() as one:
        one.ehlo()
        for response in responses:
            one.command("AUTH PLAIN " + response, 501, 535)
            one.command("AUTH PLAIN", 334)
            one.command(response, 501, 535)
            one.command("AUTH PLAIN " + response + "!", 501)
            one.command("AUTH GSSAPI " + response, 504)
        one.command("AUTH LOGIN " + b64("alice"), 334)
        one.command(b64(secret), 535)
        one.command("AUTH LOGIN " + b64("alice"), 334)
        one.command(secret, 501)
        one.command(secret, 500)
    postern.session_record(one)
    output = postern.output()
    assert secret not in output
    for response in (*responses, b64(secret)):
        assert response not in output and response[4:-4] not in output


def test_level_decides_what_is_told(start, backend):
    postern = start(backend, log={"level": "warning"}, limits={"connections": 20}, ready=False)
    wait.until(lambda: wait.port_answers(postern.starttls), "service")
    postern.log_in().quit()
    postern.stop()
    assert {r["level"] for r in postern.records()} <= {"warning", "error"}


def test_log_that_nobody_reads_delays_nobody(start, backend):
    """Standard error is a full pipe: records are lost, service is not."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    try:
        while True:
            os.write(write_end, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(write_end, True)
    postern = start(backend, ready=False, stderr=write_end)
    os.close(write_end)
    wait.until(lambda: wait.port_answers(postern.starttls), "service")
    for _ in range(20):
        postern.log_in().quit()
    os.close(read_end)
    postern.log_in().quit()


@needs_root
def test_syslog_gets_the_records_of_all_processes(start, backend, scratch):
    """Facility mail; also from the reactor, which has no /dev."""
    dev, command = stuck_log.other_dev(scratch)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(dev / "log"))
        os.chmod(dev / "log", 0o666)
        syslog.settimeout(wait.PATIENCE)
        postern = start(backend, log={"destination": "syslog"}, ready=False, command=command)

        def receive(wanted):
            while True:
                datagram = syslog.recv(8192).decode()
                match = re.fullmatch(r"<(\d+)>\w{3} [ \d]\d [\d:]{8} postern\[(\d+)\]: (.*)",
                                     datagram, re.DOTALL)
                assert match, datagram
                if int(match[1]) >> 3 == 10 and match[3].startswith("PAM "):
                    continue  # libpam's own, under authpriv
                assert int(match[1]) >> 3 == 2, f"not of facility mail: {datagram}"
                record = logfmt.parse(match[3])
                if wanted(record):
                    return int(match[1]) & 7, record
        receive(lambda record: record.get("msg", "").startswith("serving"))
        with postern.log_in() as one:
            one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
            one.quit()
        priority, record = receive(lambda record: record.get("event") == "message")
        assert priority == 6 and record["from"] == "a@b.test" and "time" not in record
        priority, record = receive(lambda record: record.get("event") == "session ended")
        assert priority == 6 and record["user"] == "alice" and "time" not in record


def test_refused_connection_is_told(start, backend):
    postern = start(backend, limits={"connections_per_address": 1, "exempt": []})
    with postern.connect(None), Client(postern.starttls) as second:
        second.reply(421)
    record = postern.wait_for_record(event="connection refused")
    assert record["client"] == "127.0.0.9" and record["listener"] == "submission"
    assert record["cause"]


def test_replies_do_not_repeat_what_the_client_said(postern):
    """Threat 18: nothing to reflect."""
    marker = "ReflectedMarker"
    with postern.connect() as one:
        one.ehlo(marker)
        for command in (marker, f"AUTH {marker}", f"AUTH PLAIN {marker}!", f"HELO {marker} {marker}",
                        f"STARTTLS {marker}", f"MAIL FROM:<{marker}>", f"VRFY {marker}"):
            assert marker not in one.command(command).text


no_journal = pytest.mark.skipif(os.path.exists("/run/systemd/journal/socket"),
                                reason="there is a journal")


@no_journal
def test_without_a_journal_no_line_is_lost(start, backend):
    """As in a container; -n and a reload say so, too."""
    said = re.compile(r"^/.*:\d+:\d+: log: destination: there is no journal .*"
                      "No such file or directory.*standard error")
    postern = start(backend, log={"destination": "journal"})
    assert len(postern.find_records(level="warning", msg=said)) == 1
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
        one.quit()
    postern.wait_for_record(event="login failed", process="reactor")
    postern.session_record(one)
    result = posterns.run("-n", "-c", postern.configuration_path)
    assert result.returncode == 0
    assert re.search(r"warning: /.*:\d+:\d+: log: destination: there is no journal", result.stderr)
    postern.reload()
    assert len(postern.find_records(level="warning", msg=said)) == 2


@needs_root
@no_journal
def test_journal_gets_the_fields_of_all_processes(start, backend):
    """In its native protocol; also from the reactor, which has no /run."""
    path = pathlib.Path("/run/systemd/journal/socket")
    missing = [each for each in path.parents if not each.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        try:
            journal.settimeout(wait.PATIENCE)
            postern = start(backend, log={"destination": "journal"}, ready=False)

            def receive(key, value):
                while True:
                    entry = journal.recv(65536).decode()
                    fields = dict(line.split("=", 1) for line in entry.splitlines())
                    assert fields["SYSLOG_IDENTIFIER"] == "postern"
                    if re.match(value, fields.get(key, "")):
                        return fields
            receive("POSTERN_MSG", "serving: ")
            with postern.connect() as one:
                one.ehlo()
                one.login('al "ice"', "wrong", 535)
                one.quit()
            failed = receive("POSTERN_EVENT", "login failed")
            assert failed["POSTERN_USER"] == 'al "ice"' and failed["PRIORITY"] == "6"
            assert failed["POSTERN_PROCESS"] == "reactor" and failed["POSTERN_PID"].isdigit()
            assert failed["MESSAGE"].startswith("pid=") and "time=" not in failed["MESSAGE"]
            with postern.log_in() as one:
                one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
                one.quit()
            message = receive("POSTERN_EVENT", "message")
            assert (message["POSTERN_FROM"], message["POSTERN_TO"], message["POSTERN_RESULT"]) == (
                "a@b.test", "c@d.test", "accepted")
            assert message["POSTERN_REPLY"] == "250 2.0.0 Queued"
            assert receive("POSTERN_EVENT", "session ended")["POSTERN_ID"] == message["POSTERN_ID"]
        finally:
            path.unlink()
            for each in missing:
                each.rmdir()
