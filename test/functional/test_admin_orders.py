"""The administration interface: sessions and their end, draining, reloading, the log's level."""

import json
import os
import re
import signal
import socket
import struct
import threading

import pytest

from support import control, wait
from support.client import SOURCE, Client

#: What would break out of JSON, HTML, a log line or a terminal.
HOSTILE = "</script>\"'><img src=x onerror=alert(1)>&\\u2028"


def sessions(postern, query=""):
    return control.get(postern, "/sessions" + query)


@pytest.fixture
def pair(start, backend):
    """Two reactors with sessions in both: alice's and bob's."""
    postern = start(backend, workers=2)
    clients = {name: [postern.log_in(name, password) for _ in range(8)]
               for name, password in (("alice", "wonderland"), ("bob", "builder"))}
    yield postern, clients
    for each in clients["alice"] + clients["bob"]:
        each.close()


def is_over(client):
    """It is told why, and disconnected."""
    reply = client.reply()
    assert reply.code == 421 and "postmaster" in reply.text, reply
    client.expect_closed()
    return True


def lives(client):
    return client.command("NOOP").code == 250


# sessions

def test_sessions_of_all_reactors_are_listed(pair):
    postern, _ = pair
    listed = sessions(postern)
    assert listed["total"] == len(listed["sessions"]) == 16 and listed["silent_reactors"] == 0
    assert len({each["reactor"] for each in listed["sessions"]}) == 2
    assert len({each["id"] for each in listed["sessions"]}) == 16
    ages = [each["age_ms"] for each in listed["sessions"]]
    assert ages == sorted(ages, reverse=True)


def test_a_session_is_described(postern):
    with postern.log_in() as client:
        client.command("MAIL FROM:<a@example.org>", 250)
        client.command("RCPT TO:<b@example.org>", 250)
        client.command("DATA", 354)
        client.send(b"x\r\n.\r\n")
        client.reply(250)
        one, = sessions(postern)["sessions"]
        client.quit()
    assert {key: one[key] for key in ("client", "port", "user", "helo", "listener", "tls",
                                      "mechanism", "backend", "state", "messages", "recipients")
            } == {"client": SOURCE, "port": client.port, "user": "alice",
                  "helo": "client.example", "listener": "submissions", "tls": "TLSv1.3",
                  "mechanism": "PLAIN", "backend": "default", "state": "relay", "messages": 1,
                  "recipients": 1}
    record = postern.session_record(client)
    assert one["id"] == record["id"] and one["cipher"] == record["cipher"]
    assert 0 < one["bytes_in"] <= int(record["bytes_in"])


def test_sessions_before_their_login_are_listed_too(postern):
    with postern.connect(None):
        one, = sessions(postern)["sessions"]
        assert (one["user"], one["helo"], one["tls"], one["state"]) == (None, None, None, "commands")


@pytest.mark.parametrize("query, count", [
    ("?user=alice", 8), ("?user=ALICE", 0), ("?user=al", 0), (f"?address={SOURCE}", 16),
    ("?address=127.0.0.0/28", 16), ("?address=127.0.0.16/28", 0),
    (f"?address={SOURCE}&user=bob", 8), ("?id=zzz", 0)])
def test_sessions_are_filtered(pair, query, count):
    postern, _ = pair
    assert sessions(postern, query)["total"] == count


def test_a_long_list_is_cut_and_says_so(pair):
    postern, _ = pair
    listed = sessions(postern, "?limit=3")
    assert (listed["total"], len(listed["sessions"])) == (16, 3)


@pytest.mark.parametrize("query", ["?usr=alice", "?address=nonsense", "?address=10.0.0.1/8",
                                   "?limit=x", "?limit=100000", "?id=" + "a" * 40, "?user=%00"])
def test_a_filter_that_is_not_understood_is_refused(postern, query):
    assert control.request(postern, "/sessions" + query)[0] == 400
    assert control.request(postern, "/kick" + query, "POST")[0] == 400


def test_a_limit_that_is_too_high_says_what_the_highest_is(postern):
    status, body, _ = control.request(postern, "/sessions?limit=10001")
    assert status == 400 and "from 0 to 10000" in body
    assert control.request(postern, "/sessions?limit=10000")[0] == 200


def test_hostile_names_stay_in_their_place(start, backend):
    """As HELO name and as the login that is tried."""
    postern = start(backend)
    with postern.connect() as client:
        client.command("EHLO " + HOSTILE.replace(" ", ""), 250)
        client.login(HOSTILE, "x", 535)
        text = control.request(postern, "/sessions")[1]
        one, = json.loads(text)["sessions"]
        assert one["helo"] == HOSTILE.replace(" ", "") and one["user"] is None
        assert text.isprintable() or text[:-1].isprintable()
        control.metrics(postern)
        assert "script" not in control.request(postern, "/metrics")[1]


# kicking

def test_a_session_is_ended_by_its_id(pair):
    postern, clients = pair
    victim = clients["alice"][3]
    one, = (each for each in sessions(postern)["sessions"] if each["port"] == victim.port)
    assert control.post(postern, "/kick?id=" + one["id"])["ended"] == 1
    assert is_over(victim)
    assert all(lives(client) for client in clients["bob"] + clients["alice"][:3])
    postern.wait_for_record(event="session ended", port=str(victim.port),
                            end="ended by the postmaster")
    postern.wait_for_record(event="sessions ended by the postmaster", id=one["id"], sessions="1")


def test_all_sessions_of_a_user_are_ended(pair):
    postern, clients = pair
    assert control.post(postern, "/kick?user=alice")["ended"] == 8
    assert all(is_over(client) for client in clients["alice"])
    assert all(lives(client) for client in clients["bob"])


def test_all_sessions_of_an_address_are_ended(pair):
    postern, clients = pair
    with Client(postern.starttls, source="127.0.0.77") as other:
        other.greeting()
        assert control.post(postern, "/kick?address=127.0.0.77")["ended"] == 1
        assert is_over(other)
    assert all(lives(client) for client in clients["bob"] + clients["alice"])


def test_nobody_is_ended_by_mistake(pair):
    postern, clients = pair
    assert control.request(postern, "/kick", "POST")[0] == 400
    assert control.request(postern, "/kick?user=", "POST")[0] == 400
    assert control.request(postern, "/kick?user=alice")[0] == 405
    assert control.post(postern, "/kick?user=nobody")["ended"] == 0
    assert all(lives(client) for client in clients["bob"] + clients["alice"])


def test_a_session_of_a_draining_generation_can_be_ended(start, backend):
    postern = start(backend, workers=2)
    client = postern.log_in()
    for _ in range(2):
        postern.reload()
    listed = sessions(postern)
    assert (listed["total"], listed["silent_reactors"]) == (1, 0)
    assert control.post(postern, "/kick?user=alice")["ended"] == 1
    assert is_over(client)


def test_a_reactor_that_does_not_answer_is_told_of(pair):
    """And does not keep the others' sessions from being shown."""
    postern, _ = pair
    asked = sessions(postern)["sessions"]
    first, stopped = sorted(postern.team("reactor", 2))
    os.kill(stopped, signal.SIGSTOP)
    try:
        listed = sessions(postern)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert listed["silent_reactors"] == 1
    assert listed["total"] == sum(each["reactor"] == first for each in asked)


def leave_after(postern, request):
    with socket.socket(socket.AF_UNIX) as made:
        made.connect(str(control.path_of(postern)))
        made.sendall(request)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_who_leaves_before_the_answer_harms_nobody(pair):
    postern, clients = pair
    _, stopped = sorted(postern.team("reactor", 2))
    os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(5):
            leave_after(postern, b"GET /sessions HTTP/1.1\r\nHost: postern\r\n\r\n")
            leave_after(postern, b"GET /sessions HTTP/1.1\r\nHost: postern\r\n\r\n"
                        b"GET /status HTTP/1.1\r\nHost: postern\r\n\r\n")
        assert sessions(postern)["silent_reactors"] == 1  # after the same time as theirs
    finally:
        os.kill(stopped, signal.SIGCONT)
    for _ in range(3):
        leave_after(postern, b"POST /reload HTTP/1.1\r\nHost: postern\r\nContent-Length: 0\r\n\r\n")
    assert control.post(postern, "/reload")["reloaded"] is True
    assert sessions(postern)["total"] == 16
    assert all(lives(client) for client in clients["bob"] + clients["alice"])


def test_a_restarted_reactor_is_asked(start, backend):
    postern = start(backend, workers=2)
    postern.forgive()
    for victim in sorted(postern.team("reactor", 2)):
        os.kill(victim, signal.SIGKILL)
        wait.until(lambda gone=victim: gone not in postern.pids("reactor"), "its end")
        postern.team("reactor", 2)
    held = [postern.log_in() for _ in range(12)]
    wait.until(lambda: _answered_by_all(postern, 12), "answers of both")
    for client in held:
        client.close()


def _answered_by_all(postern, total):
    try:
        listed = sessions(postern)
    except OSError:
        return False
    return listed["total"] == total and len({e["reactor"] for e in listed["sessions"]}) == 2


# draining

def greeted_by_all(postern, code):
    """By as many as make it sure that each reactor was among them: one answers for all, and tells
    the others."""
    def greeting():
        with Client(postern.starttls) as client:
            return client.reply().code
    return all(greeting() == code for _ in range(8))


def test_draining_refuses_new_connections_and_keeps_the_others(pair):
    postern, clients = pair
    assert control.post(postern, "/drain")["state"] == "draining"
    assert control.get(postern, "/status")["state"] == "draining"
    assert control.request(postern, "/health")[0] == 503
    assert control.metrics(postern)["postern_accepting"] == 0
    wait.until(lambda: greeted_by_all(postern, 421), "the refusals of either reactor")
    assert all(lives(client) for client in clients["bob"])
    assert control.post(postern, "/resume")["state"] == "serving"
    wait.until(lambda: greeted_by_all(postern, 220), "the greetings of either reactor")
    with postern.log_in() as client:
        client.quit()


def test_draining_survives_a_reload(postern):
    control.post(postern, "/drain")
    postern.reload()
    assert control.get(postern, "/status")["state"] == "draining"
    with Client(postern.starttls) as client:
        assert client.reply().code == 421
    control.post(postern, "/resume")
    with postern.log_in() as client:
        client.quit()


# reloading

def test_a_reload_is_waited_for(postern):
    postern.configure(hostname="new.example.org")
    assert control.post(postern, "/reload")["reloaded"] is True
    assert control.get(postern, "/status")["hostname"] == "new.example.org"


def test_a_refused_reload_tells_why(postern):
    postern.configure(tls={"key": "/nowhere/key.pem"}, limits={"errors": 0})
    status, text, _ = control.request(postern, "/reload", "POST")
    answer = json.loads(text)
    assert status == 409 and answer["reloaded"] is False
    assert any("errors" in line and "postern.conf:" in line for line in answer["messages"])
    assert all(line.startswith(("error: ", "warning: ")) for line in answer["messages"])
    with postern.log_in() as client:
        client.quit()


def test_a_certificate_that_refuses_a_reload_is_named(postern):
    postern.configure(tls={"key": "/nowhere/key.pem"})
    answer = json.loads(control.request(postern, "/reload", "POST")[1])
    assert any("/nowhere/key.pem" in line for line in answer["messages"])


def test_reloads_at_once_are_all_answered(postern):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        control.request(postern, "/reload", "POST"))) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(wait.PATIENCE)
    assert [status for status, *_ in answers] == [200] * 5
    assert control.get(postern, "/health") == {"state": "serving"}


# the log

def test_the_level_of_the_log_is_changed(pair):
    postern, clients = pair
    assert control.post(postern, "/log?level=error")["log_level"] == "error"
    clients["alice"].pop().quit()
    wait.until(lambda: sessions(postern)["total"] == 15, "its end, of which no line tells")
    assert control.post(postern, "/log?level=info")["log_level"] == "info"
    left = clients["alice"].pop()
    left.quit()
    postern.session_record(left)
    assert len(postern.find_records(event="session ended")) == 1


@pytest.mark.parametrize("query", ["", "?level=loud", "?level=INFO"])
def test_a_level_that_does_not_exist_is_refused(postern, query):
    assert control.request(postern, "/log" + query, "POST")[0] == 400


# without a master

def test_a_master_that_is_gone_is_told_of(postern):
    client = postern.log_in()
    os.kill(postern.pid, signal.SIGKILL)
    postern.abandon()
    client.close()
    try:
        status, *_ = control.request(postern, "/reload", "POST")
    except OSError:
        return  # nobody listens any more
    assert status == 503


def test_nobody_who_asks_notices_a_reload(start, backend):
    """Each question is answered, and no counter goes back, by whichever reactor it is."""
    postern = start(backend, workers=2)
    failures, done, seen = [], threading.Event(), []

    def ask():
        while not done.is_set():
            try:
                seen.append(control.metrics(postern)["postern_connections_total"
                                                     '{listener="submissions"}'])
            except Exception as error:  # whatever it is, it is noticed
                failures.append(repr(error))

    with postern.log_in() as client:
        asker = threading.Thread(target=ask)
        asker.start()
        for _ in range(6):
            postern.reload()
            with postern.log_in() as other:
                other.quit()
        done.set()
        asker.join(wait.PATIENCE)
        client.quit()
    assert not failures and len(seen) > 10
    assert seen == sorted(seen) and seen[-1] <= 7
