"""A new program in place of the running one: nobody is refused, nobody is cut off, and a program
that is no good changes nothing."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess

import pytest

from support import client, control, postern as posterns, processes, wait
from test_posternctl import DONE, REFUSED, ctl
from support.backend import Backend
from support.client import Client
from support.visitors import Visitors


@pytest.fixture
def program(scratch, monkeypatch):
    """A copy of the binary, for a test to replace."""
    path = scratch / "postern"
    shutil.copy(posterns.BINARY, path)
    path.chmod(0o755)
    monkeypatch.setattr(posterns, "BINARY", str(path))
    return path


def replace(program, content=None):
    """As a package does it: another file, of the same name."""
    new = program.with_suffix(".new")
    if content is None:
        shutil.copy(program, new)
    else:
        new.write_text(content)
    new.chmod(0o755)
    new.rename(program)


def upgrade(postern):
    before = len(postern.find_records(msg=posterns.re.compile("^serving: ")))
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(msg=posterns.re.compile("^serving: "), count=before + 1)


@pytest.mark.skipif("libsystemd: yes" not in posterns.run("-V").stdout,
                    reason="built without libsystemd")
def test_socket_of_the_supervisor_is_served_by_several_reactors_afterwards(start, backend, scratch):
    """Only one such socket is there for all of them."""
    address = ("127.0.0.1", wait.free_port())
    postern = start(backend, ready=False, workers=2,
                    listen={"submission": {"address": "%s:%d" % address}},
                    command=["systemd-socket-activate", "--listen", "%s:%d" % address])
    postern.forgive()  # what systemd's program says
    wait.until(lambda: wait.port_answers(address), "the port")
    postern.wait_until_serving()
    upgrade(postern)
    for _ in range(8):
        with client.Client(address) as one:
            one.greeting()
            one.quit()


def binary_of(pid):
    return os.stat(f"/proc/{pid}/exe").st_ino


def test_new_program_runs_and_sessions_of_the_old_one_go_on(start, backend, program):
    postern = start(backend)
    old_reactors = set(postern.team("reactor", 1))
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        replace(program)
        upgrade(postern)
        assert binary_of(postern.pid) == os.stat(program).st_ino
        with postern.log_in() as two:
            two.send_message("a@b.test", ["c@d.test"], b"two\r\n")
            two.quit()
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        one.send("one\r\n.\r\n")
        one.reply(250)
        one.quit()
    wait.until(lambda: not any(processes.alive(pid) for pid in old_reactors),
               "the end of the old reactor")
    postern.wait_for_record(msg=posterns.re.compile("has finished its sessions"))
    assert len(backend.sessions) == 2 and all(len(s.messages) == 1 for s in backend.sessions)


def test_nobody_is_refused_while_the_program_changes(start, backend, program):
    postern = start(backend)
    with Visitors(postern) as visitors:
        for _ in range(3):
            replace(program)
            upgrade(postern)
            visitors.go_on()


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "not a program", None])
def test_program_that_is_no_good_changes_nothing(start, backend, program, content):
    """Refusing the configuration, not executable, missing."""
    postern = start(backend)
    reactors, inode = postern.team("reactor", 1), binary_of(postern.pid)
    if content is None:
        program.unlink()
    else:
        replace(program, content)
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
    assert postern.pids("reactor") == reactors and binary_of(postern.pid) == inode
    with postern.log_in() as one:
        one.quit()


def test_bad_configuration_changes_nothing(start, backend, program):
    """Promise 10."""
    postern = start(backend)
    reactors = postern.team("reactor", 1)
    postern.write_configuration("this is none")
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
    assert postern.pids("reactor") == reactors
    postern.configure()
    with postern.log_in() as one:
        one.quit()


# what the next program needs, and cannot have

def _port_in_use(postern, held):
    held.listen(1)
    return {"listen": {**postern.settings["listen"],
                       "other": {"address": "%s:%d" % held.getsockname()}}}


def _foreign_address(postern, held):
    return {"listen": {**postern.settings["listen"],
                       "other": {"address": f"192.0.2.1:{held.getsockname()[1]}"}}}


def _busy_metrics_port(_, held):
    held.listen(1)
    return {"admin": {"metrics": "%s:%d" % held.getsockname()}}


def _no_place_for_the_socket(postern, _):
    return {"admin": {"socket": postern.directory / "missing" / "deeper" / "control"}}


def _no_certificate(postern, _):
    return {"tls": {"certificate": postern.directory / "missing.pem"}}


def _no_place_for_the_log(postern, _):
    return {"log": {"destination": "file", "file": postern.directory / "missing" / "log"}}


@pytest.mark.parametrize("change, why", [
    (_port_in_use, "cannot listen on .*: Address already in use"),
    (_foreign_address, "cannot listen on .*: Cannot assign requested address"),
    (_busy_metrics_port, "admin: .* cannot be opened: Address already in use"),
    (_no_place_for_the_socket, "admin: .* cannot be opened: No such file or directory"),
    (_no_certificate, "missing.pem"),
    (_no_place_for_the_log, "log: file: .* cannot be opened: No such file or directory")])
def test_upgrade_that_could_not_serve_is_refused_and_ends_nothing(start, backend, program, change,
                                                                  why):
    postern = start(backend)
    reactors, inode = postern.team("reactor", 1), binary_of(postern.pid)
    with postern.log_in() as one, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        postern.configure(**change(postern, held))
        replace(program)
        postern.signal(signal.SIGUSR2)
        postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
        assert postern.find_records(level="error", msg=posterns.re.compile("^upgrade: .*" + why))
        assert postern.pids("reactor") == reactors and binary_of(postern.pid) == inode
        postern.log_in().quit()
        one.quit()
    assert control.get(postern, "/status")["state"] == "serving"
    postern.stop()


def test_program_that_does_not_answer_keeps_nobody_from_stopping(start, backend, program, scratch):
    postern = start(backend)
    replace(program, f"#!/bin/sh\n>{scratch}/asked\nexec sleep 1000\n")
    postern.signal(signal.SIGUSR2)
    wait.until((scratch / "asked").exists, "the question")
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    assert postern.find_records(msg=posterns.re.compile("^upgrade given up: "))


POSTINST = pathlib.Path(__file__).parents[2] / "etc/debian/postern.postinst"


@pytest.mark.parametrize("change, said", [(None, "goes over to the new version"),
                                          (_busy_metrics_port, "stays with the old version")])
def test_package_says_whether_the_upgrade_is_done(start, backend, program, change, said):
    """A busy port is nothing that a program can see which is merely asked: `postern -n`."""
    postern = start(backend)
    text = POSTINST.read_text()
    functions = text[text.index("DEFAULTS="):text.index("# True if it can be started")]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        postern.configure(**change(postern, held) if change else {})
        replace(program)
        result = subprocess.run(
            ["sh", "-euc", f"CONFIGURATION={postern.configuration_path}\n{functions}\n"
             f"upgrade {postern.pid}"], capture_output=True, text=True, check=True,
            env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"})
        assert said in result.stdout, result.stdout + result.stderr
    assert (binary_of(postern.pid) == os.stat(program).st_ino) == (change is None)
    if change is None:
        postern.wait_for_record(msg=posterns.re.compile("^serving: "), count=2)


CHANGED_MEANWHILE = """#!/bin/sh
# Whoever replaces files does so just between the question and the program's start
case " $* " in *" -n "*) {binary} "$@" || exit; {change} ;; *) exec {binary} "$@" ;; esac
"""
MEANWHILE = {"configuration": "echo this is none >{postern.configuration_path}",
             "certificate": "echo this is none >{certificate}",
             "program": "rm {program}"}


@pytest.fixture(params=MEANWHILE)
def overtaken(start, backend, program, scratch, certificates, request):
    """A Postern whose next program finds a file changed that was good when it was asked; and
    how to mend that."""
    good = certificates.certificate
    certificate = scratch / "certificate.pem"
    shutil.copy(good, certificate)
    postern = start(backend, tls={"certificate": certificate})
    shutil.copy(posterns.BINARY, scratch / "next")
    change = MEANWHILE[request.param].format(postern=postern, certificate=certificate,
                                              program=program)
    replace(program, CHANGED_MEANWHILE.format(binary=scratch / "next", change=change))

    def mend():
        shutil.copy(good, certificate)
        postern.configure()
    return postern, mend


def test_file_that_changes_during_an_upgrade_ends_nothing(overtaken):
    """What was there goes on until the new program can serve."""
    postern, mend = overtaken
    reactors = postern.team("reactor", 1)
    with postern.log_in() as one:
        postern.signal(signal.SIGUSR2)
        postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
        assert postern.pids("reactor") == reactors
        with postern.log_in() as two:
            assert control.get(postern, "/status")["state"] == "serving"
            assert control.get(postern, "/sessions")["total"] == 2
            two.quit()
        mend()
        postern.reload()
        postern.log_in().quit()
        one.send_message("a@b.test", ["c@d.test"], b"one\r\n")
        one.quit()
    wait.until(lambda: reactors[0] not in postern.pids("reactor"), "the end of the old reactor")


def test_refused_upgrade_can_be_stopped(overtaken):
    postern, _ = overtaken
    with postern.log_in() as one:
        postern.signal(signal.SIGUSR2)
        postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
        postern.signal(signal.SIGTERM)
        one.reply(421)
        one.expect_closed()
    assert postern.wait() == 0


def test_refused_upgrade_can_be_tried_again(overtaken, program, scratch):
    postern, mend = overtaken
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
    mend()
    shutil.copy(scratch / "next", program.with_suffix(".good"))
    program.with_suffix(".good").rename(program)
    upgrade(postern)
    postern.log_in().quit()


def test_processes_of_before_are_replaced_after_a_refused_upgrade(overtaken):
    """Helpers at once, a reactor as soon as there is a certificate."""
    postern, mend = overtaken
    postern.forgive()
    reactor, workers = postern.sole("reactor"), postern.team("auth worker", 2)
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    wait.until(lambda: len(set(postern.pids("auth worker")) - set(workers)) == 2, "new workers")
    postern.log_in().quit()
    os.kill(reactor, signal.SIGKILL)
    mend()
    wait.until(lambda: set(postern.pids("reactor")) - {reactor}, "a new reactor")
    postern.log_in().quit()


def test_every_reactor_and_its_opener_go_on_after_a_refused_upgrade(start, program, scratch):
    backend = Backend(path=scratch / "backend")
    postern = start(backend, workers=2)
    postern.forgive()
    reactors, openers = postern.team("reactor", 2), postern.team("opener", 2)
    shutil.copy(posterns.BINARY, scratch / "next")
    replace(program, CHANGED_MEANWHILE.format(
        binary=scratch / "next", change=MEANWHILE["configuration"].format(postern=postern)))
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile("^upgrade refused: "))
    for pid in openers:
        os.kill(pid, signal.SIGKILL)
    wait.until(lambda: len(set(postern.pids("opener")) - set(openers)) == 2, "new openers")
    assert postern.pids("reactor") == reactors
    seen = set()
    while len(seen) < 2:
        with postern.log_in() as one:
            seen |= {each["reactor"] for each in control.get(postern, "/sessions")["sessions"]}
            one.quit()
    postern.configure()
    postern.reload()
    wait.until(lambda: not set(postern.team("reactor", 2)) & set(reactors), "new reactors")
    backend.close()


@pytest.mark.parametrize("overtaken", ["configuration"], indirect=True)
def test_client_waits_for_a_program_that_finds_nothing_to_go_on_with(overtaken, program):
    """From a program that has let its reactors go before it knew: nothing serves for a while."""
    postern, mend = overtaken
    script = program.read_text().replace('"$@" ||', '"$@" >/dev/null ||')
    replace(program, script)
    postern.signal(signal.SIGUSR2)
    postern.wait_for_record(level="error", msg=posterns.re.compile(
        "^upgrade refused: nothing serves until "))
    with Client(postern.implicit) as one:
        mend()
        postern.wait_for_record(msg=posterns.re.compile("^serving: "), count=2)
        one.handshake()
        one.greeting()


ODD_NEXT = """#!/bin/sh
# The next program reads something else about the reactors than the one before has written
case " $* " in {when})
    POSTERN_UPGRADE=$(printf '%s' "$POSTERN_UPGRADE" | sed 's/^{words}/{instead}/')
    export POSTERN_UPGRADE ;;
esac
exec {binary} "$@"
"""


@pytest.mark.parametrize("words, instead, when", [
    (r"\(reactor [0-9]* [0-9]*\) [0-9]*", r"\1 99", "*"),
    (r"\(reactor [0-9]* [0-9]*\) [0-9]*", r"\1 99", '*" -n "*) ;; *'),
    (r"\(reactor [0-9]* [0-9]* [0-9]*\) 0", r"\1 9", "*"),
    (r"\(reactor .*\) [0-9]*$", r"\1", "*"),
    (r"\(reactor .*\)", r"\1 x", "*"),
    (r"configuration.*", "configuration 0", "*"),
])
def test_generation_that_cannot_be_adopted_finishes_its_sessions(start, backend, program, scratch,
                                                                 words, instead, when):
    """One of a program that speaks otherwise, and nonsense: nobody is refused or cut off."""
    postern = start(backend)
    shutil.copy(posterns.BINARY, scratch / "next")
    reactor = postern.sole("reactor")
    with postern.log_in() as one:
        replace(program, ODD_NEXT.format(words=words, instead=instead, when=when,
                                         binary=scratch / "next"))
        upgrade(postern)
        with postern.log_in() as two:
            two.send_message("a@b.test", ["c@d.test"], b"two\r\n")
            two.quit()
        one.send_message("a@b.test", ["c@d.test"], b"one\r\n")
        one.quit()
    wait.until(lambda: not processes.alive(reactor), "the end of the old reactor")
    postern.wait_for_record(msg=posterns.re.compile("of the former program has ended"))


@pytest.mark.parametrize("times", [1, 2])
def test_frozen_auth_worker_of_the_former_program_is_ended(start, backend, program, times):
    """With its reactor, however many upgrades ago that was."""
    postern = start(backend)
    worker = postern.team("auth worker", 2)[0]
    with postern.log_in() as one:
        processes.freeze(worker)
        for _ in range(times):
            upgrade(postern)
        assert processes.alive(worker)
        one.quit()
    wait.until(lambda: not processes.alive(worker), "the end of the worker")


def test_what_was_held_against_somebody_is_not_forgotten(start, backend, program):
    postern = start(backend, auth={"attempts": 9}, limits={"failed_logins": 1, "exempt": []})
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
    upgrade(postern)
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)


def test_end_ends_what_the_former_program_has_left(start, backend, program):
    """SIGTERM after an upgrade: sessions of before get their 421, and nothing stays behind."""
    postern = start(backend)
    with postern.log_in() as one:
        old = postern.pids("reactor")
        upgrade(postern)
        postern.signal(signal.SIGTERM)
        one.reply(421)
        one.expect_closed()
    wait.until(lambda: not any(processes.alive(pid) for pid in old), "the end of the old reactor")
    assert postern.wait() == 0


def test_upgrade_after_upgrade_leaks_nothing(start, backend, program):
    postern = start(backend)
    upgrade(postern)
    postern.sole("reactor")
    before = len(os.listdir(f"/proc/{postern.pid}/fd"))
    for _ in range(5):
        upgrade(postern)
    postern.sole("reactor")
    assert len(os.listdir(f"/proc/{postern.pid}/fd")) == before


def test_the_administration_interface_is_there_all_the_time(start, backend, program):
    """Its sockets are the same, also for who has asked for draining before."""
    postern = start(backend, admin={"metrics": "127.0.0.1:%d" % wait.free_port()})
    socket_of = control.path_of(postern).stat().st_ino
    control.post(postern, "/drain")
    replace(program)
    upgrade(postern)
    assert control.path_of(postern).stat().st_ino == socket_of
    assert wait.until(lambda: _state(postern), "an answer") == "draining"
    assert control.post(postern, "/resume")["state"] == "serving"
    with postern.log_in() as one:
        assert control.get(postern, "/sessions")["total"] == 1
        one.quit()
    postern.stop()
    assert not control.path_of(postern).exists()


def _state(postern):
    try:
        return control.get(postern, "/status")["state"]
    except OSError:
        return None


def test_counters_do_not_go_back(start, backend, program):
    """Nor does the session of the former program disappear while it lasts."""
    postern = start(backend)
    one = postern.log_in()
    one.send_message("a@b.test", ["c@d.test"], b"one\r\n")
    replace(program)
    upgrade(postern)
    before = wait.until(lambda: _figures(postern), "an answer")
    assert before["postern_messages_total"] == 1
    assert before['postern_sessions{state="relay"}'] == 1
    one.send_message("a@b.test", ["c@d.test"], b"two\r\n")
    assert control.metrics(postern)["postern_messages_total"] == 2
    one.quit()
    postern.wait_for_record(msg=posterns.re.compile("has finished its sessions"))
    after = control.metrics(postern)
    assert after["postern_messages_total"] == 2
    assert after['postern_sessions{state="relay"}'] == 0
    assert after["process_start_time_seconds"] == before["process_start_time_seconds"]
    assert after['postern_connections_total{listener="submissions"}'] == 1


def test_hour_and_failures_outlive_an_upgrade(start, backend, program):
    postern = start(backend)
    with postern.connect() as one:
        one.ehlo()
        one.login("mallory", "wrong", 535)
    before = control.get(postern, "/history")["points"][0]
    replace(program)
    upgrade(postern)
    wait.until(lambda: _figures(postern), "an answer")
    after = control.get(postern, "/history")["points"][0]
    assert after[1:] == before[1:] and after[0] >= before[0]
    assert [one["user"] for one in control.get(postern, "/failures")["failures"]] == ["mallory"]


def _figures(postern):
    try:
        return control.metrics(postern)
    except OSError:
        return None


# what the postmaster orders while sessions of the former program last

def _users(postern):
    """Of all sessions that are seen; no reactor has kept silent."""
    answer = control.get(postern, "/sessions")
    assert answer["silent_reactors"] == 0
    return sorted(each["user"] for each in answer["sessions"])


def _wait_until_asked(postern, users):
    """The interface has its socket all the time, but a reactor behind it for a moment not."""
    def look():
        try:
            return _users(postern) == users
        except OSError:
            return False
    wait.until(look, f"the sessions of {users}")


def test_a_stolen_account_is_stopped_in_the_former_program_too(start, backend, program):
    """Seen and ended, over any number of upgrades, and reloads in between."""
    postern = start(backend)
    one = postern.log_in()
    replace(program)
    upgrade(postern)
    _wait_until_asked(postern, ["alice"])
    two = postern.log_in("bob", "builder")
    upgrade(postern)
    _wait_until_asked(postern, ["alice", "bob"])
    postern.reload()
    _wait_until_asked(postern, ["alice", "bob"])
    assert ctl(control.path_of(postern), "kick", "--user", "alice") == (
        DONE, "1 session ended\n", "")
    one.reply(421)
    one.expect_closed()
    _wait_until_asked(postern, ["bob"])
    assert ctl(control.path_of(postern), "kick", "--address", "127.0.0.0/8")[0] == DONE
    two.reply(421)


def test_the_former_program_hears_of_the_level_of_the_log(start, backend, program):
    """As after a reload; what it does not do any more is to ask for another auth worker."""
    postern = start(backend)
    with postern.log_in() as one:
        former = postern.sole("reactor")
        upgrade(postern)
        control.post(postern, "/log?level=error")
        one.quit()
        wait.until(lambda: not processes.alive(former), "the end of the old reactor")
    assert not postern.find_records(event="session ended")


STRANGER = """#!/bin/sh
# An upgrade from a program whose reactors cannot be asked, and must not go on
case " $* " in *" -n "*) exec {binary} "$@" >/dev/null ;; esac
POSTERN_UPGRADE=$(printf '%s' "$POSTERN_UPGRADE" | sed 's/^{words}.*/\\1{instead}/')
export POSTERN_UPGRADE
exec {binary} "$@"
"""


@pytest.mark.parametrize("words, instead", [(r"\(process [0-9]*\)", ""),
                                            (r"\(process [0-9]* [0-9]*\)", " 99"),
                                            (r"\(process [0-9]*\)", " 0 1"),
                                            (r"\(process [0-9]*\)", " 9999 1")])
def test_what_cannot_be_seen_is_not_said_to_be_absent(start, backend, program, scratch, words,
                                                      instead):
    """A program that left no way to ask it, one that speaks otherwise, and nonsense."""
    postern = start(backend)
    shutil.copy(posterns.BINARY, scratch / "next")
    with postern.log_in() as one:
        former = postern.sole("reactor")
        replace(program, STRANGER.format(words=words, instead=instead, binary=scratch / "next"))
        upgrade(postern)
        wait.until(lambda: _state(postern), "an answer")
        for command in (["sessions"], ["kick", "--user", "alice"]):
            status, _, err = ctl(control.path_of(postern), *command)
            assert status == REFUSED and "1 reactor did not answer" in err
        one.quit()
    wait.until(lambda: not processes.alive(former), "the end of the old reactor")
    postern.wait_for_record(msg=posterns.re.compile("of the former program has ended"))
    wait.until(lambda: ctl(control.path_of(postern), "sessions")[::2] == (DONE, ""),
               "nobody who keeps silent")
