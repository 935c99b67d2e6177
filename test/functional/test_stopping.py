"""What Postern does while it stops: it comes to an end, and nobody who asks waits for ever."""

import os
import re
import signal
import socket

import pytest

from conftest import needs_root
from support import control, processes, tracing, wait
from support.backend import Backend
from test_posternctl import DONE, REFUSED, UNREACHABLE, ctl
from test_upgrade import program, replace, upgrade  # noqa: F401


def begin_message(postern):
    client = postern.log_in()
    client.command("MAIL FROM:<a@b.test>", 250)
    client.command("RCPT TO:<c@d.test>", 250)
    client.command("DATA", 354)
    client.send("Subject: under way\r\n")
    return client


def end_message(client):
    client.send("\r\n.\r\n")
    client.reply(250)
    client.reply(421)
    client.expect_closed()
    client.close()


def one_for_each_reactor(postern):
    """Two messages under way, at one reactor each: {pid: client}."""
    found = {}
    while len(found) < 2:
        client = begin_message(postern)
        (pid,) = (each["reactor"] for each in control.get(postern, "/sessions")["sessions"]
                  if each["port"] == client.port)
        found.setdefault(pid, client)
        if found[pid] is not client:
            client.close()
    wait.until(lambda: control.get(postern, "/sessions")["total"] == 2, "the two")
    return found


def begin_stop(postern):
    postern.signal(signal.SIGTERM)
    postern.wait_for_record(msg=re.compile("^stopping"))
    wait.until(lambda: control.request(postern, "/health")[0] == 503, "the word of it")


@pytest.fixture
def postern(start, backend):
    return start(backend, timeouts={"drain": 60})


def test_who_asks_while_a_message_is_under_way_is_answered(postern):
    client = begin_message(postern)
    begin_stop(postern)
    status = control.get(postern, "/status")
    assert status["state"] == "stopping" and status["sessions"]["relay"] == 1
    code, out, err = ctl(control.path_of(postern), "status")
    assert (code, err) == (DONE, "") and ": stopping, " in out
    end_message(client)
    assert postern.wait() == 0
    assert not control.path_of(postern).exists()


def test_figures_are_there_to_the_end(start, backend):
    address = ("127.0.0.1", wait.free_port())
    postern = start(backend, timeouts={"drain": 60}, admin={"metrics": "%s:%d" % address})
    client = begin_message(postern)
    begin_stop(postern)
    assert control.request(postern, "/health", address=address)[0] == 503
    assert control.metrics(postern, address=address)["postern_accepting"] == 0
    end_message(client)
    assert postern.wait() == 0


@pytest.mark.parametrize("first", [min, max])
def test_last_session_is_seen_whichever_reactor_has_it(start, backend, first):
    postern = start(backend, workers=2, timeouts={"drain": 60})
    clients = one_for_each_reactor(postern)
    begin_stop(postern)
    end_message(clients.pop(first(clients)))
    wait.until(lambda: control.get(postern, "/sessions")["total"] == 1, "the other alone")
    ((pid, client),) = clients.items()
    assert control.get(postern, "/sessions")["sessions"][0]["reactor"] == pid
    assert control.get(postern, "/status")["sessions"]["total"] == 1
    end_message(client)
    assert postern.wait() == 0


@pytest.mark.parametrize("first", [min, max])
def test_nobody_waits_for_a_reactor_that_has_died(start, backend, first):
    """The one that serves the interface or another: it is answered or refused, and not kept."""
    postern = start(backend, workers=2, timeouts={"drain": 60})
    postern.forgive()
    clients = one_for_each_reactor(postern)
    begin_stop(postern)
    victim = first(clients)
    os.kill(victim, signal.SIGKILL)
    clients.pop(victim).close()
    postern.wait_for_record(msg=re.compile(f"^reactor {victim} ended"))
    assert ctl(control.path_of(postern), "status")[0] in (DONE, UNREACHABLE)
    (client,) = clients.values()
    end_message(client)
    postern.wait()


def test_sessions_from_before_a_reload_are_seen(postern):
    client = begin_message(postern)
    postern.reload()
    begin_stop(postern)
    assert control.get(postern, "/sessions")["total"] == 1
    end_message(client)
    assert postern.wait() == 0


def test_sessions_of_a_former_program_are_waited_for(start, backend, program):
    postern = start(backend, timeouts={"drain": 60})
    client = begin_message(postern)
    replace(program)
    upgrade(postern)
    begin_stop(postern)
    assert control.get(postern, "/status")["sessions"]["relay"] == 1
    end_message(client)
    assert postern.wait() == 0


@pytest.mark.parametrize("command", [["reload"], ["drain"], ["resume"], ["log", "debug"]])
def test_nothing_is_ordered_of_who_stops(postern, command):
    client = begin_message(postern)
    begin_stop(postern)
    code, _, err = ctl(control.path_of(postern), *command)
    assert code == REFUSED and "stopping" in err
    end_message(client)
    assert postern.wait() == 0


def test_reload_that_waits_for_its_turn_is_answered(postern):
    held = []
    for _ in range(16):
        held.append(postern.log_in())
        postern.reload()
    client = begin_message(postern)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(wait.PATIENCE)
        waiting.connect(str(control.path_of(postern)))
        waiting.sendall(b"POST /reload HTTP/1.1\r\nHost: postern\r\nContent-Length: 0\r\n\r\n")
        for _ in range(2):  # who came before these has been heard
            control.get(postern, "/health")
        begin_stop(postern)
        assert b"Postern is stopping" in waiting.recv(65536)
    for one in held:
        one.close()
    end_message(client)
    assert postern.wait() == 0


def test_sessions_can_be_ended_while_it_stops(postern):
    client = begin_message(postern)
    begin_stop(postern)
    assert ctl(control.path_of(postern), "kick", "--user", "alice")[:2] == (
        DONE, "1 session ended\n")
    client.reply(421)
    client.close()
    assert postern.wait() == 0


# processes that do not react

def is_killed(postern, pid):
    """Has the master lost its patience with this helper?"""
    return postern.find_records(level="warning", msg=re.compile(f" {pid} did not end in time: "))


def test_frozen_auth_worker_does_not_keep_postern_from_ending(start, backend):
    postern = start(backend)
    workers = postern.team("auth worker", 2)
    processes.freeze(workers[0])
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    assert is_killed(postern, workers[0]) and not is_killed(postern, workers[1])
    assert not processes.alive(workers[0])


def test_second_signal_ends_a_frozen_auth_worker_at_once(start, backend):
    """And does not wait until the master has lost its patience."""
    postern = start(backend)
    reactor, worker = postern.sole("reactor"), postern.team("auth worker", 2)[0]
    processes.freeze(worker)
    postern.signal(signal.SIGTERM)
    wait.until(lambda: not processes.alive(reactor), "the end of the reactor")
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    assert not processes.alive(worker) and not is_killed(postern, worker)


@pytest.mark.parametrize("times", [1, 2])
def test_frozen_opener_does_not_keep_postern_from_ending(start, scratch, times):
    with_path = Backend(path=scratch / "backend")
    postern = start(with_path)
    reactor, opener = postern.sole("reactor"), postern.sole("opener")
    processes.freeze(opener)
    postern.signal(signal.SIGTERM)
    if times == 2:
        wait.until(lambda: not processes.alive(reactor), "the end of the reactor")
        postern.signal(signal.SIGTERM)
    assert postern.wait(2 * wait.PATIENCE) == 0
    assert not processes.alive(opener) and is_killed(postern, opener)
    with_path.close()


def test_frozen_reactor_does_not_keep_postern_from_ending(start, backend):
    postern = start(backend, timeouts={"drain": 1})
    reactor = postern.sole("reactor")
    processes.freeze(reactor)
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    assert not processes.alive(reactor)


@needs_root
def test_process_that_no_signal_ends_does_not_keep_postern_from_ending(start, backend):
    """A debugger holds it: the master cannot see its end before the debugger lets go."""
    postern = start(backend)
    postern.forgive()  # the leak checker does not work under a debugger, and says so
    worker = postern.team("auth worker", 2)[0]
    with tracing.held(worker):
        postern.signal(signal.SIGTERM)
        wait.until(lambda: processes.stat(worker)[1] == "Z", "the end of the worker")
        postern.signal(signal.SIGTERM)
        assert postern.wait() == 0
    postern.wait_for_record(level="warning", msg=re.compile("^not every process could be ended"))
