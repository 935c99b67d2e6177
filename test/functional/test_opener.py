"""The opener alone, with a reactor that has been taken over on the other side of its socket."""

import errno
import os
import random
import select
import signal
import socket
import struct

import pytest

from conftest import needs_root
from support import postern as posterns
from support import processes, wait
from support.opener import Opener, order

HERE = ("127.0.0.1", 4711)


@pytest.fixture
def begin(scratch):
    running = []

    def make(*backends, **options):
        made = Opener(*backends, log=scratch / f"opener-{len(running)}", **options)
        running.append(made)
        return made
    yield make
    for each in running:
        each.close()


@pytest.fixture
def listener(scratch):
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(scratch / "socket"))
    made.listen(500)
    yield made
    made.close()


def unix(listener):
    return "unix", f"unix:{listener.getsockname()}"


# threat 22

def broken_orders():
    whole = order(7, login="alice", helo="x", client=HERE)
    yield "empty text where none may be", whole + b"\0"
    for cut in (1, 4, 12, 15, 16, 34, 53, len(whole) - 1):
        yield f"cut at {cut}", whole[:cut]
    yield "another magic", b"PX" + whole[2:]
    yield "another version", whole[:2] + b"\2" + whole[3:]
    yield "an answer", b"PO\1\2" + struct.pack("<QH", 7, 0)
    yield "flags", order(7, flags=255)
    yield "a kind of address", whole[:15] + b"\7" + whole[16:]
    for byte in (b"\0", b"\n", b"\r", b"\t", b"\x1b", b"\x7f"):
        yield f"{byte!r} in a login", order(7, login=b"al" + byte + b"ice")
    yield "a long mechanism", order(7, mechanism="x" * 33)
    yield "a length beyond the end", order(7)[:-1] + b"\5"
    yield "too much", b"PO\1\1" + b"x" * 100_000
    rng = random.Random(1)
    for number in range(50):
        yield f"noise {number}", rng.randbytes(rng.randrange(1, 1200))


def test_threat_22_garbage_neither_ends_nor_confuses_it(begin, listener):
    opener = begin(unix(listener))
    for name, data in broken_orders():
        opener.send(data)
        error, opened = opener.ask(99)
        assert (error, bool(opened)) == (0, True), name
        opened.close()
    assert opener.output().count("malformed order") == len(list(broken_orders()))


@needs_root
def test_descriptors_that_a_reactor_sends_are_not_kept(begin, listener):
    opener = begin(unix(listener))
    opener.ask()[1].close()
    before = len(processes.descriptors(opener.pid))
    for _ in range(20):
        opener.send(order(1), [0, 1, 2])
        opener.receive()[2].close()
    wait.until(lambda: len(processes.descriptors(opener.pid)) <= before, "the end of all copies")


@pytest.mark.parametrize("backend", [2, 3, 65535])
def test_backend_that_is_none_is_refused(begin, listener, backend):
    """Also one that the reactor opens by itself: the opener is no way around its rights."""
    opener = begin(unix(listener), ("unix", "unix:/nonexistent"), ("none", "127.0.0.1:25"))
    assert opener.ask(backend=backend) == (errno.EBADR, None)
    assert opener.ask(backend=1) == (errno.ENOENT, None)
    assert opener.ask()[0] == 0


def can_send(one):
    return bool(select.select([], [one], [], 0)[1])


def test_every_order_has_its_answer(begin):
    """However many there are before the reactor looks; none is lost."""
    opener = begin(("unix", "unix:/nonexistent"))
    opener.socket.setblocking(False)
    sent = 0
    while sent < 2000 and can_send(opener.socket):
        opener.send(order(sent))
        sent += 1
    opener.socket.settimeout(wait.PATIENCE)
    assert sent > 10
    for each in range(sent):
        assert opener.receive()[:2] == (each, errno.ENOENT)


# unix sockets

def test_full_queue_is_told_from_an_outage(begin, scratch):
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(scratch / "full"))
        full.listen(0)
        opener = begin(("unix", f"unix:{scratch}/full"))
        opened = [opener.ask()]
        while opened[-1][0] == 0:
            opened.append(opener.ask())
        assert opened[-1][0] == errno.EAGAIN
        for _, each in opened[:-1]:
            each.close()
    os.unlink(scratch / "full")


@needs_root
def test_socket_that_only_root_may_use_is_opened(begin, listener, scratch):
    os.chmod(listener.getsockname(), 0o600)
    scratch.chmod(0o700)
    opener = begin(unix(listener))
    assert opener.ask()[0] == 0


@needs_root
def test_opener_of_unix_sockets_keeps_one_capability(begin, listener):
    opener = begin(unix(listener))
    opener.ask()
    dac_override = 1
    for which in ("CapPrm", "CapEff", "CapBnd"):
        assert int(processes.status(opener.pid, which), 16) == 1 << dac_override
    assert processes.status(opener.pid, "NoNewPrivs") == "1"
    assert processes.status(opener.pid, "Uid").split()[0] != "0"


# programs

def test_answer_of_a_program_is_its_session(begin):
    opener = begin(("program", "/bin/cat"))
    _, session = opener.ask()
    session.sendall(b"hello")
    assert session.recv(100) == b"hello"
    session.shutdown(socket.SHUT_WR)
    assert session.recv(100) == b""
    wait.until(lambda: not processes.children(opener.pid), "its end")


def test_session_that_is_half_closed_is_not_over(begin):
    """Threat 25: the program may still be at work on what it has been told."""
    opener = begin(("program", "/bin/sh -c 'cat; sleep 7; echo done'"))
    _, session = opener.ask()
    session.shutdown(socket.SHUT_WR)
    assert session.recv(100) == b"done\n"


def test_session_that_nobody_takes_leaves_no_program(begin):
    """The answer is lost together with the reactor: the program ends all the same."""
    opener = begin(("program", "/bin/sleep 1000"))
    opener.send(order(1))
    wait.until(lambda: processes.children(opener.pid), "a program")
    opener.close()


def test_program_that_is_not_there_answers_why(begin):
    opener = begin(("program", "/nonexistent/smtpd"))
    assert opener.ask() == (errno.ENOENT, None)
    wait.until(lambda: processes.children(opener.pid) == [], "no child")
    assert "/nonexistent/smtpd cannot be executed: No such file" in opener.output()


def test_value_that_is_missing_or_an_option_starts_nothing(begin):
    opener = begin(("program", "/bin/echo %{login} %{address}"))
    assert opener.ask(client=HERE)[0] == errno.EINVAL
    assert opener.ask(login="alice")[0] == errno.EINVAL
    assert opener.ask(login="-n", client=HERE)[0] == errno.EINVAL
    _, session = opener.ask(login="alice", client=("2001:db8::1", 1))
    assert session.makefile().read() == "alice 2001:db8::1\n"


def test_limit_is_for_each_backend_and_counts_the_living(begin):
    opener = begin(("program", "/bin/cat"), ("program", "/bin/cat"), limit=3)
    clients = [(f"192.0.2.{number}", 25) for number in range(4)]
    sessions = [opener.ask(client=each)[1] for each in clients[:3]]
    assert opener.ask(client=clients[3]) == (errno.EUSERS, None)
    assert opener.ask(backend=1)[0] == 0
    sessions.pop().close()
    wait.until(lambda: opener.ask(client=clients[3])[0] == 0, "a place")


def test_one_client_has_no_more_than_half_of_the_programs(begin):
    opener = begin(("program", "/bin/cat"), limit=4)
    one, other = ("192.0.2.1", 25), ("192.0.2.2", 25)
    sessions = [opener.ask(client=one)[1] for _ in range(2)]
    assert opener.ask(client=one) == (errno.EDQUOT, None)
    assert opener.ask(client=other)[0] == 0
    sessions.pop().close()
    wait.until(lambda: opener.ask(client=one)[0] == 0, "a place")


def test_no_relayclient_for_those_who_have_not_logged_in(begin):
    opener = begin(("program", "/usr/bin/env"), relayclient="@x")
    assert "RELAYCLIENT" not in opener.ask(client=HERE)[1].makefile().read()
    assert "RELAYCLIENT=@x\n" in opener.ask(client=HERE, login="a")[1].makefile().read()


def test_protocol_is_named_as_rfc_3848_does(begin):
    opener = begin(("program", "/bin/echo %{protocol}"))
    for flags, tls, login, name in ((0, "", "", "smtp"), (1, "", "", "esmtp"),
                                    (1, "TLSv1.3", "", "esmtps"), (1, "", "a", "esmtpa"),
                                    (1, "TLSv1.3", "a", "esmtpsa")):
        session = opener.ask(flags=flags, tls=tls, login=login)[1]
        assert session.makefile().read() == name + "\n"


def test_sigterm_ends_it_and_its_programs_at_once(scratch):
    opener = Opener(("program", "/bin/sleep 1000"), log=scratch / "log")
    opener.ask()
    (child,) = processes.children(opener.pid)
    opener.process.send_signal(signal.SIGTERM)
    assert opener.process.wait(wait.PATIENCE) == 0
    wait.until(lambda: not processes.alive(child), "the end of the program")


# transparent

@needs_root
def test_transparent_opener_keeps_one_capability_in_an_empty_root(begin):
    opener = begin(("transparent", "127.0.0.1:25"))
    opener.ask()
    net_admin = 12
    for which in ("CapPrm", "CapEff", "CapBnd"):
        assert int(processes.status(opener.pid, which), 16) == 1 << net_admin
    assert processes.status(opener.pid, "NoNewPrivs") == "1"
    assert os.listdir(f"/proc/{opener.pid}/root") == []


@needs_root
def test_client_of_another_family_is_told(begin):
    opener = begin(("transparent", "127.0.0.1:25"))
    assert opener.ask(client=("2001:db8::1", 1)) == (errno.EAFNOSUPPORT, None)
    assert opener.ask() == (errno.EAFNOSUPPORT, None)


def test_only_the_master_starts_one():
    result = posterns.run("--opener")
    assert result.returncode == 1 and "master's own use" in result.stderr


@needs_root
def test_without_its_capability_it_does_not_begin(scratch):
    opener = Opener(("transparent", "127.0.0.1:25"), log=scratch / "log", command=(
        "setpriv", "--bounding-set=-net_admin"))
    assert opener.process.wait(wait.PATIENCE) == 1
    assert "CAP_NET_ADMIN" in opener.output()
