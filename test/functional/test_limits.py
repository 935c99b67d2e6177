"""Limits: a full house, greedy addresses, missing descriptors, slow and stubborn clients."""

import os
import re
import select
import socket
import subprocess
import threading
import time

import pytest

from conftest import needs_root
from support import control, processes, tracing, wait
from support.backend import Backend
from support.client import Client, Closed, plain_response
from support.key_updates import KeyUpdates
from support.postern import LEAN, SANITIZERS


def test_in_a_full_house_the_oldest_unauthenticated_gives_way(start, backend):
    """Threat 27; not the newest, who may be a user."""
    postern = start(backend, limits={"connections": 4})
    user = postern.log_in()
    oldest, middle, youngest = (postern.connect() for _ in range(3))
    with postern.connect() as newcomer:
        oldest.reply(421)
        oldest.expect_closed()
        assert postern.session_record(oldest)["end"] == "gave way to a new connection"
        newcomer.ehlo()
        newcomer.login("bob", "builder")
        for one in (user, middle, youngest):
            one.command("NOOP", 250)
            one.close()


def test_authenticated_sessions_never_give_way(start, backend):
    postern = start(backend, limits={"connections": 2})
    users = [postern.log_in(), postern.log_in("bob", "builder")]
    with Client(postern.starttls) as late:
        assert late.reply(421).status == "4.3.2"
        late.expect_closed()
    with Client(postern.implicit) as late:
        assert late.receive_rest() == b""
    for one in users:
        one.command("NOOP", 250)
        one.close()
    assert postern.find_records(event="connection refused", cause="too many connections",
                                listener="submission")
    wait.until(lambda: len(postern.find_records(event="session ended")) == 2, "both ends")
    postern.log_in().quit()


def test_one_address_may_not_have_all_connections(start, backend):
    postern = start(backend, limits={"connections_per_address": 2, "exempt": []})
    first, second = postern.connect(), postern.connect()
    with Client(postern.starttls) as third:
        assert third.reply(421).status == "4.7.0"
        third.expect_closed()
    with postern.log_in(source="127.0.0.10") as other:
        other.quit()
    first.quit()
    postern.session_record(first)
    postern.connect().quit()
    second.close()
    assert postern.find_records(event="connection refused", client="127.0.0.9")


def test_exempt_address_may_have_all_connections(start, backend):
    """Webmail: all of its users come from one address."""
    postern = start(backend, limits={"connections_per_address": 2, "exempt": ["127.0.1.0/24"]})
    webmail = [postern.connect(source="127.0.1.1") for _ in range(4)]
    others = [postern.connect() for _ in range(2)]
    with Client(postern.starttls) as third:
        assert third.reply(421).status == "4.7.0"
    for one in webmail + others:
        one.command("NOOP", 250)
        one.close()


def test_no_limit_for_an_address_can_be_set(start, backend):
    postern = start(backend, limits={"connections_per_address": 0, "exempt": []})
    clients = [postern.connect() for _ in range(210)]
    for one in clients:
        one.close()


def test_out_of_descriptors_is_survived(start, backend):
    """accept() at EMFILE: who has not logged in gives way, users stay, and it goes on."""
    postern = start(backend, command=["prlimit", "--nofile=48:48", "--"],
                    limits={"connections": 10000})
    user = postern.log_in()
    crowd = []
    for _ in range(80):
        try:
            crowd.append(Client(postern.starttls))
        except OSError:
            break
    postern.wait_for_record(level="warning", msg=re.compile("cannot accept: Too many open files"))
    user.command("NOOP", 250)
    newest = crowd[-1]
    newest.greeting()
    newest.ehlo()
    for one in crowd:
        one.close()
    user.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    user.quit()
    wait.until(lambda: len(postern.find_records(event="session ended")) > len(crowd), "all ends")
    postern.log_in().quit()


def leave_no_descriptor(pid):
    """The process has the descriptors that it has, and gets no more."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = next(number for number in range(len(used) + 1) if number not in used)
    # A reactor's own user may do that, and root only with a capability.
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={free}:"], check=True, user="nobody",
                   group="nogroup", extra_groups=[])


@needs_root
def test_out_of_descriptors_does_not_spin(start, backend):
    """With nobody who could give way, the listener rests."""
    postern = start(backend)
    users = [postern.log_in() for _ in range(3)]
    reactor = postern.sole("reactor")
    leave_no_descriptor(reactor)
    waiting = [Client(postern.starttls) for _ in range(5)]
    postern.wait_for_record(level="warning", msg=re.compile("cannot accept: Too many open files"))
    spent = cpu_seconds(reactor)
    began = time.monotonic()
    with Client(postern.starttls, timeout=1) as late:
        with pytest.raises((TimeoutError, ConnectionError, Closed)):
            late.greeting()
    assert cpu_seconds(reactor) - spent < 0.5 * (time.monotonic() - began) + 0.1
    for one in users + waiting:
        one.close()
    wait.until(lambda: can_log_in(postern), "a new login")


def test_users_do_not_lose_to_idle_strangers_where_descriptors_are_few(start, backend):
    """Each login wants a descriptor for the backend as well."""
    postern = start(backend, command=["prlimit", "--nofile=200:200", "--"],
                    limits={"connections_per_address": 0})
    crowd = [Client(postern.starttls) for _ in range(250)]
    for one in crowd[-20:]:
        one.greeting()
    users = [postern.log_in() for _ in range(40)]
    for one in users:
        one.command("NOOP", 250)
        one.close()
    for one in crowd:
        one.close()


def test_connections_that_descriptors_do_not_carry_are_told_once(start, backend):
    postern = start(backend, command=["prlimit", "--nofile=200:200", "--"])
    told = {"level": "warning", "msg": re.compile("^limits: connections = 10000 needs 20064 .*"
                                                  "only 200 may be open: 68 connections")}
    postern.wait_for_record(**told)
    postern.reload()
    assert len(postern.find_records(**told)) == 1
    users = [postern.log_in() for _ in range(68)]
    with Client(postern.starttls) as late:
        late.reply(421)
    for one in users:
        one.command("NOOP", 250)
        one.close()


@needs_root
@pytest.mark.parametrize("kind", ["TCP", "unix"])
def test_idle_stranger_gives_its_descriptor_to_a_users_session(start, scratch, kind):
    """A socket for the backend, made here or by the opener, is worth as much as a connection."""
    backend = Backend(path=scratch / "backend" if kind == "unix" else None)
    postern = start(backend)
    crowd = [postern.connect() for _ in range(5)]
    users = [postern.connect() for _ in range(3)]
    for one in users:
        one.ehlo()
    leave_no_descriptor(postern.sole("reactor"))
    for one in users:
        one.login("alice", "wonderland", 235)
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    crowd[0].reply(421)
    crowd[-1].command("NOOP", 250)
    for one in crowd + users:
        one.close()
    backend.close()


@needs_root
def test_postmaster_is_answered_where_no_descriptor_is_left(start, backend):
    """An idle stranger gives its own. Where all have logged in, the question waits for one."""
    postern = start(backend)
    users = [postern.log_in() for _ in range(3)]
    stranger = postern.connect()  # has the highest descriptor
    reactor = postern.sole("reactor")
    descriptors = len(os.listdir(f"/proc/{reactor}/fd"))
    leave_no_descriptor(reactor)
    assert control.get(postern, "/status")["sessions"]["relay"] == 3
    stranger.reply(421)
    stranger.close()
    wait.until(lambda: len(os.listdir(f"/proc/{reactor}/fd")) == descriptors - 1, "their end")
    asked = socket.socket(socket.AF_UNIX)
    leave_no_descriptor(reactor)
    asked.connect(str(control.path_of(postern)))
    asked.sendall(b"GET /health HTTP/1.0\r\nHost: postern\r\n\r\n")
    spent, began = cpu_seconds(reactor), time.monotonic()
    assert not select.select([asked], [], [], 1)[0]
    assert cpu_seconds(reactor) - spent < 0.5 * (time.monotonic() - began) + 0.1
    users.pop().quit()
    asked.settimeout(wait.PATIENCE)
    assert asked.recv(100).startswith(b"HTTP/1.0 200")
    asked.close()
    for one in users:
        one.close()


@needs_root
def test_login_without_a_descriptor_waits_for_one(start, backend):
    """All others have logged in: the first of them that goes leaves its own."""
    postern = start(backend)
    others = [postern.log_in() for _ in range(3)]
    with postern.connect() as one:
        one.ehlo()
        leave_no_descriptor(postern.sole("reactor"))
        one.send(f"AUTH PLAIN {plain_response('bob', 'builder')}\r\n")
        postern.wait_for_record(level="warning", msg=re.compile("waits for a descriptor"))
        others[0].quit()
        one.reply(235)
    for other in others[1:]:
        other.command("NOOP", 250)
        other.close()


def can_log_in(postern):
    try:
        postern.log_in(timeout=5).quit()
        return True
    except (OSError, AssertionError):
        return False


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_idle_unauthenticated_connections_cost_little(start, backend):
    """Promise 9: bounded memory for each, without TLS, and after a handshake."""
    postern = start(backend, environment=LEAN, limits={"connections_per_address": 0})
    reactor = postern.sole("reactor")
    crowd = [Client(postern.starttls, source=f"127.0.3.{n % 200 + 1}") for n in range(400)]
    for one in crowd:
        one.greeting()
    before = processes.resident_bytes(reactor)
    more = [Client(postern.starttls, source=f"127.0.3.{n % 200 + 1}") for n in range(400)]
    for one in more:
        one.greeting()
    # The allocator of the sanitizers rounds generously.
    assert (processes.resident_bytes(reactor) - before) / 400 < 16_384
    for one in crowd + more:
        one.close()


def test_client_that_reads_no_replies_is_bounded(start, backend):
    """Before authentication: replies that are not read stop the reading of commands."""
    postern = start(backend, environment=LEAN, timeouts={"login": 3})
    reactor = postern.sole("reactor")
    with postern.connect(receive_buffer=4096) as one:
        one.ehlo()
        before = processes.resident_bytes(reactor)
        one.socket.settimeout(1)
        sent = 0
        try:
            while sent < 200_000_000:
                one.send(b"NOOP\r\n" * 10_000)
                sent += 60_000
        except OSError:
            pass
        grown = processes.resident_bytes(reactor) - before
        assert grown < 4_000_000, f"grew by {grown} for {sent} bytes"
        assert sent < 200_000_000


@pytest.mark.parametrize("tls", [None, "implicit"])
def test_byte_a_second_does_not_hold_a_place_for_ever(start, backend, tls):
    postern = start(backend, timeouts={"login": 2, "greeting": 1})
    with postern.connect(tls) as one:
        one.socket.settimeout(0.1)
        began = time.monotonic()
        for byte in b"EHLO " + b"x" * 200:
            try:
                one.send(bytes([byte]))
                one.reply(421)
                break
            except TimeoutError:
                continue
        assert time.monotonic() - began < 8
    assert postern.session_record(one)["end"] in ("no command in time",
                                                  "no authentication in time")


def test_message_that_trickles_keeps_no_place_in_a_crowded_house(start, backend):
    """Whoever sends enough stays, and where there is room everybody does. Takes a minute."""
    crowded, roomy = start(backend, limits={"connections": 3}), start(backend)
    slow, chunked, fast = (crowded.log_in() for _ in range(3))
    patient = roomy.log_in()
    for one in (slow, fast, patient):
        one.envelope()
        one.command("DATA", 354)
    chunked.envelope()
    chunked.send("BDAT 100000 LAST\r\n")
    pace = {slow: b"x", chunked: b"x", patient: b"x", fast: b"x" * 70 + b"\r\n" + b"y" * 1000}
    ended = {}
    deadline = time.monotonic() + 180
    while len(ended) < 2 and time.monotonic() < deadline:
        for one in pace:
            one.send(pace[one])
        left = [one.socket for one in (slow, chunked) if one in pace]
        readable, _, _ = select.select(left, [], [], 0.25)
        for one in [one for one in (slow, chunked) if one.socket in readable]:
            ended[one] = one.reply(421)
            one.expect_closed()
            del pace[one]
    assert [reply.status for reply in ended.values()] == ["4.4.2"] * 2
    assert crowded.session_record(slow)["end"] == "message came too slowly"
    assert control.metrics(crowded)['postern_limits_hit_total{limit="minimum_rate"}'] == 2
    for one in (fast, patient):
        one.send(b"\r\n.\r\n")
        one.reply(250)
        one.quit()
    assert len([1 for one in backend.connections if one.messages]) == 2


def test_password_longer_than_the_cap_never_reaches_pam(start, backend, pam, scratch):
    """Threat 15: what modules hash is not the client's to choose."""
    recorded = pam.recorded(scratch)
    postern = start(backend, auth={"pam_service": "recorded"})
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "x" * 1025, 501)
        one.login("alice", "x" * 1024, 535)
    assert len(recorded.read_text().splitlines()) == 1


@pytest.fixture
def traced(start, backend, scratch):
    """traced(…) -> a Postern, and what tells the reactor's system calls."""
    trace = tracing.Trace(scratch)
    # Who is traced cannot be looked at by the leak checker.
    options = SANITIZERS["ASAN_OPTIONS"] + ":detect_leaks=0"

    def begin(**settings):
        postern = start(backend, command=trace.command, environment={"ASAN_OPTIONS": options},
                        **settings)
        return postern, trace.of(postern.sole("reactor"))
    return begin


def calls_of_a_refused_login(postern, calls):
    """What the loop turns while one client waits for the delay behind a wrong password."""
    before = calls.count("epoll_wait")
    with postern.connect(source="127.0.0.10") as other:
        other.ehlo()
        other.login("alice", "wrong", 535)
    return calls.count("epoll_wait") - before


@pytest.mark.parametrize("waits_for", ["PAM", "backend"])
def test_client_that_reads_nothing_while_its_login_waits_keeps_nobody_busy(
        traced, backend, pam, waits_for):
    """What it keeps asking TLS for is answered, which nobody reads, and so it is not read either;
    and when it does read, it is heard again."""
    answer = threading.Event()

    def late(connection, _):
        connection.hold(answer)
        connection.say("220 fake.test ESMTP")
    user, password = "bob", "builder"
    if waits_for == "backend":
        user, password = "alice", "wonderland"
        backend.on("XCLIENT", late)
    postern, calls = traced(
        auth={"pam_service": "gated", "failure_delay": 2, "timeout": 600})
    with KeyUpdates(postern.implicit) as one:
        assert one.line().startswith("220 ")
        one.send("EHLO client.example")
        while one.line().startswith("250-"):
            continue
        one.send(f"AUTH PLAIN {plain_response(user, password)}")
        if waits_for == "PAM":
            wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        else:
            backend.wait(lambda: any(c.xclient for c in backend.connections), "XCLIENT")
        one.flood()
        assert calls_of_a_refused_login(postern, calls) < 60
        one.read_until_heard()
        one.flood()
        assert calls_of_a_refused_login(postern, calls) < 60
        pam.release()
        answer.set()
        one.read_until_heard()
        assert one.line().startswith("235 ")


def test_fast_client_leaves_the_others_their_turns(traced):
    """Whatever it sends, the loop looks at everybody else after one buffer of it."""
    postern, calls = traced()
    with postern.connect(tls=None) as one:
        one.send(b"NOOP\r\n" * 60_000)
        for _ in range(60_000):
            one.reply(250)
        one.quit()
    postern.session_record(one)
    assert calls.most_in_a_row("recvfrom") <= 2
