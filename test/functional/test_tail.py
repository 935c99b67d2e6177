"""posternctl tail: logins, messages and sessions as they happen, for those who may use the
administration socket; nobody waits for whoever watches."""

import json
import os
import pathlib
import queue
import re
import signal
import socket
import subprocess
import threading

import pytest

from conftest import needs_root
from support import control, postern as posterns, wait
from support.client import b64

SENDER, RECIPIENT = "a@b.test", "c@d.test"


class Tail:
    """A posternctl that watches; its lines come in as they are printed."""

    def __init__(self, postern, *arguments, **options):
        program = os.environ.get("POSTERNCTL_BINARY") or \
            pathlib.Path(posterns.BINARY).parent / "posternctl"
        self.process = subprocess.Popen(
            [program, "--socket", control.path_of(postern), "tail", *arguments],
            env={**os.environ, **posterns.SANITIZERS}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, **options)
        self._lines = queue.Queue()
        self.seen, self.said = [], []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._hear, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _hear(self):
        for line in self.process.stderr:
            self.said.append(line)

    def line(self, *needles):
        """The next line that has all these in it."""
        while True:
            line = self._lines.get(timeout=wait.PATIENCE)
            assert line is not None, f"ended, and has seen {self.seen} and said {self.said}"
            self.seen.append(line)
            if all(each in line for each in needles):
                return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def watch(postern, *arguments, **options):
    """A tail of JSON, once it watches."""
    tail = Tail(postern, "--json", *arguments, **options)
    tail.line('"stream began"')
    return tail


def send(postern, **options):
    with postern.log_in(**options) as one:
        one.send_message(SENDER, [RECIPIENT], b"text\r\n")
        one.quit()


def come_and_go(postern, source):
    postern.connect(None, source=source).quit()


def is_watched(postern, tail, reactors=1):
    """Somebody comes and goes until the tail has seen so many reactors at it."""
    seen = set()

    def look():
        come_and_go(postern, "127.0.0.77")
        try:
            while line := tail._lines.get(timeout=0.1):
                if '"pid"' in line:
                    seen.add(json.loads(line)["pid"])
        except queue.Empty:
            pass
        return len(seen) >= reactors
    wait.until(look, f"events of {reactors} reactors")
    return seen


def readers(postern):
    """Connections to the administration socket that the server has."""
    path = f"{control.path_of(postern)}.new"  # as it was bound
    with open("/proc/net/unix", encoding="ascii") as file:
        return sum(line.rstrip().endswith(path) and line.split()[5] == "03" for line in file)


def test_login_message_and_end_are_seen_as_they_happen(postern):
    with Tail(postern) as tail:
        wait.until(lambda: come_and_go(postern, "127.0.0.77") or not tail._lines.empty(),
                   "the first event")
        with postern.log_in() as one:
            login = tail.line("login accepted", "user=alice")
            assert re.match(r"\d\d:\d\d:\d\dZ login accepted id=", login)
            one.send_message(SENDER, [RECIPIENT], b"text\r\n")
            message = tail.line(" message ", "user=alice", f"from={SENDER}", f"to={RECIPIENT}")
            assert 'reply="250 2.0.0 Queued"' in message
            one.quit()
        tail.line("session ended", "user=alice", "end=quit")
        with postern.connect() as other:
            other.ehlo()
            other.login("alice", "wrong", 535)
        tail.line("login failed", "user=alice", "result=rejected")
    assert not tail.said


def test_filters_show_only_what_they_fit(postern):
    with watch(postern) as everything, watch(postern, "--user", "bob") as user, \
            watch(postern, "--event", "login") as logins, \
            watch(postern, "--event", "message", "--address", "127.0.0.46") as messages, \
            watch(postern, "--address", "192.0.2.0/24") as nobody:
        send(postern, source="127.0.0.45")
        send(postern, user="bob", password="builder", source="127.0.0.46")
        everything.line('"session ended"', '"127.0.0.46"')
        assert '"user":"bob"' in user.line("login accepted")
        user.line("session ended")
        logins.line('"user":"alice"')
        logins.line('"user":"bob"')
        messages.line('"client":"127.0.0.46"')
        assert all('"user":"bob"' in line for line in user.seen[1:])
        assert all('"event":"login ' in line for line in logins.seen[1:])
        assert len(messages.seen) == 2 and len(nobody.seen) == 1 and nobody._lines.empty()


def test_mail_of_one_user_is_seen(postern):
    """As posternctl(8) has it."""
    with Tail(postern, *"--user alice --event message".split()) as tail:
        def look():
            send(postern, user="bob", password="builder")
            send(postern)
            return not tail._lines.empty()
        wait.until(look, "a message")
        assert re.match(r"\d\d:\d\d:\d\dZ message id=\w+ .* user=alice from=a@b.test ", tail.line())
        assert not any("bob" in line for line in tail.seen)


@pytest.mark.parametrize("query", ["user=", "address=nowhere", "event=message&event=login", "id=x"])
def test_filter_that_is_none_is_refused(postern, query):
    assert control.request(postern, f"/events?{query}")[0] == 400


def test_log_that_is_silent_can_be_watched(start, backend):
    """As the level says what is written, and not what a postmaster may see."""
    postern = start(backend, log={"level": "warning"}, ready=False)
    wait.until(lambda: wait.port_answers(postern.starttls), "service")
    with watch(postern) as tail:
        send(postern)
        tail.line('"event":"message"')
        tail.line('"session ended"')
    assert not postern.find_records(event="message")


def test_messages_are_not_shown_where_the_postmaster_wants_it(start, backend):
    postern = start(backend, log={"messages": False})
    with watch(postern) as tail:
        send(postern)
        tail.line('"session ended"')
        assert SENDER not in "".join(tail.seen)


def test_every_reactor_is_seen_and_one_that_is_replaced(start, backend):
    postern = start(backend, workers=3)
    with watch(postern) as tail:
        seen = is_watched(postern, tail, 3)
        victim = max(seen)
        os.kill(victim, signal.SIGKILL)
        wait.until(lambda: victim not in postern.pids("reactor")
                   and len(postern.pids("reactor")) == 3, "another reactor")
        is_watched(postern, tail, 3)


def test_stream_is_asked_for_again_when_its_reactor_dies(start, backend):
    postern = start(backend)
    with watch(postern) as tail:
        os.kill(postern.sole("reactor"), signal.SIGKILL)
        tail.line('"stream began"')
        is_watched(postern, tail)
        assert any("broken off" in said for said in tail.said)


def test_stream_goes_on_over_a_reload(postern):
    """With the sessions of the generation before, which are seen to their end."""
    with watch(postern) as tail, postern.log_in() as old:
        tail.line("login accepted")
        postern.reload()
        tail.line('"stream ended"', '"reload"')
        tail.line('"stream began"')
        wait.until(lambda: any("goes on" in said for said in tail.said), "a word")
        is_watched(postern, tail)
        old.send_message(SENDER, [RECIPIENT], b"text\r\n")
        tail.line('"event":"message"', SENDER)
        old.quit()
        tail.line('"session ended"', f'"port":{old.port}')
        wait.until(lambda: len(postern.pids("reactor")) == 1, "the end of the generation before")


def test_end_of_postern_is_a_clear_word(postern):
    with watch(postern) as tail:
        postern.stop()
        tail.line('"stream ended"', "stopping")
        assert tail.process.wait(wait.PATIENCE) == 3
        wait.until(lambda: any("the stream has ended" in said for said in tail.said), "a word")


def test_reader_that_leaves_costs_nothing_more(postern):
    with watch(postern):
        assert readers(postern) == 1
        before = len(os.listdir(f"/proc/{postern.pids('reactor')[0]}/fd"))
    wait.until(lambda: readers(postern) == 0, "no reader")
    wait.until(lambda: len(os.listdir(f"/proc/{postern.pids('reactor')[0]}/fd")) <= before - 4,
               "as many descriptors as before")
    send(postern)


def test_reader_that_speaks_out_of_turn_is_let_go(postern):
    """What it says is not read as a request, and the others are served."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(wait.PATIENCE)
        made.connect(str(control.path_of(postern)))
        made.sendall(b"GET /events HTTP/1.1\r\nHost: postern\r\n\r\n")
        assert b"200 OK" in made.recv(65536)
        made.sendall(b"GET /status HTTP/1.1\r\nHost: postern\r\n\r\n")
        while made.recv(65536):
            continue
    assert control.get(postern, "/status")["state"] == "serving"
    assert len(postern.pids("reactor")) == 1


def test_slow_reader_is_told_what_it_has_missed(postern, backend):
    """And nobody waits for it: memory for it has a bound."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(wait.PATIENCE)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(str(control.path_of(postern)))
        made.sendall(b"GET /events HTTP/1.0\r\nHost: postern\r\n\r\n")
        with postern.log_in() as one:
            for _ in range(40):
                for _ in range(60):
                    one.send(f"MAIL FROM:<{'x' * 200}@b.test>\r\nRCPT TO:<{'y' * 200}@d.test>\r\n"
                             "RSET\r\n")
                for _ in range(180):
                    one.reply(250)
            one.quit()
        postern.session_record(one)
        read, lost = 0, 0
        text = b""
        while not text.endswith(b"}\n") or b'"session ended"' not in text[-3000:] or not lost:
            text += made.recv(65536)
            lost = sum(int(each) for each in re.findall(rb'events lost","count":(\d+)', text))
            if lost and text.count(b'"event":"message"') + lost >= 2400:
                break
        read = text.count(b'"event":"message"')
    assert lost > 0 and 2400 <= read + lost <= 2403
    assert len(postern.find_records(event="message")) == 2400


def test_those_who_watch_leave_room_for_others(postern):
    """They are few, so that a postmaster's questions are always answered."""
    tails = [watch(postern) for _ in range(8)]
    assert control.request(postern, "/events")[0] == 503
    assert control.get(postern, "/status")["state"] == "serving"
    for tail in tails:
        tail.process.kill()
    with wait.until(lambda: watch(postern), "room for another"):
        pass


@needs_root
def test_group_of_the_socket_may_watch(start, backend):
    """Nobody needs root to look."""
    postern = start(backend, admin={"group": "nogroup"})
    with watch(postern, user="nobody", group="nogroup", extra_groups=[]) as tail:
        send(postern)
        tail.line('"event":"message"')


def test_threat_17_what_clients_say_cannot_forge_a_line_for_who_watches(postern):
    name = 'a"\\u001b[2J\x1b[2J user=root\u202e'
    with watch(postern) as raw, Tail(postern) as text:
        wait.until(lambda: readers(postern) == 2, "both readers")
        wait.until(lambda: come_and_go(postern, "127.0.0.77") or not text._lines.empty(), "both")
        with postern.connect() as one:
            one.ehlo()
            one.command("AUTH LOGIN", 334)
            one.command(b64(name), 334, 501)
            one.close()
        with postern.log_in() as one:
            one.send(b"MAIL FROM:<\"x\\\" user=root\"@b.test>\r\n")
            one.reply()
            one.command("RCPT TO:<\u202ec@d.test>", 250)
            one.quit()
        for line in raw.line('"event":"message"'), text.line(" message "):
            assert "\x1b" not in line and "\u202e" not in line
        record = json.loads(raw.seen[-1])
        assert record["user"] == "alice" and record["from"].endswith('"@b.test')
