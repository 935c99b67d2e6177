"""posternctl: what people see, what scripts get, and what is said when nobody answers."""

import json
import os
import pathlib
import pty
import re
import select
import socket
import subprocess
import threading

import pytest

from conftest import needs_root
from support import control, postern as posterns, wait

BINARY = pathlib.Path(os.environ.get("POSTERNCTL_BINARY")
                      or pathlib.Path(posterns.BINARY).parent / "posternctl")
ROOT = pathlib.Path(__file__).parents[2]

DONE, REFUSED, USAGE, UNREACHABLE, UNWRITTEN = range(5)


def ctl(socket_path, *arguments, binary=BINARY, **options):
    """(exit status, standard output, standard error)"""
    environment = {**os.environ, **posterns.SANITIZERS}
    result = subprocess.run([binary, "--socket", socket_path, *arguments], env=environment,
                            capture_output=True, text=True, timeout=60, check=False, **options)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def ask(postern):
    return lambda *arguments: ctl(control.path_of(postern), *arguments)


def test_the_state_is_shown_to_people(postern, ask):
    with postern.log_in():
        status, out, err = ask("status")
    assert (status, err) == (DONE, "")
    assert re.search(r"^mail\.example\.org: serving, version ", out)
    assert re.search(r"^sessions +1  relay 1$", out, re.MULTILINE)
    assert re.search(r"^limits shared  no$", out, re.MULTILINE)
    assert re.search(r"^submissions +127\.0\.0\.1:\d+ +implicit +submission$", out, re.MULTILINE)
    assert re.search(r"good\.pem +used +\d{4}-\S+Z +\d+$", out, re.MULTILINE)


def test_health_check_of_the_container_tells_whether_it_serves(postern):
    """What stands in the Containerfile, with the socket of this test."""
    (words,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])$",
                          (ROOT / "etc/Containerfile").read_text(encoding="utf-8"), re.MULTILINE)
    program, *arguments = json.loads(words)
    assert program == "/usr/bin/posternctl"  # where "meson install" puts it with --prefix=/usr
    path = control.path_of(postern)
    assert ctl(path, *arguments)[0] == DONE
    control.post(postern, "/drain")
    assert ctl(path, *arguments)[0] == REFUSED
    postern.stop()
    assert ctl(path, *arguments)[0] == UNREACHABLE


def test_sessions_are_a_table(postern, ask):
    with postern.log_in() as client:
        status, out, err = ask("sessions")
        titles, line = out.splitlines()
        assert (status, err) == (DONE, "")
        assert titles.split()[:3] == ["ID", "CLIENT", "USER"]
        identity, address, user = line.split()[:3]
        assert (address, user) == ("127.0.0.9", "alice")
        assert ask("sessions", identity)[1] == ask("sessions", "--user", "alice")[1]
        assert ask("kick", identity) == (DONE, "1 session ended\n", "")
        assert client.reply().code == 421
    assert ask("kick", "--user", "alice") == (REFUSED, "0 sessions ended\n", "")


def test_addresses_are_let_in_and_refused(postern, ask):
    ask("permit", "192.0.2.7", "--user", "printer", "--for", "2h")
    status, out, err = ask("deny", "198.51.100.0/24")
    assert (status, err) == (DONE, "")
    assert re.search(r"^permit +192\.0\.2\.7 +printer +(2h 0m|1h 59m)$", out, re.MULTILINE)
    assert re.search(r"^deny +198\.51\.100\.0/24 +- +(1h 0m|59m \d+s)$", out, re.MULTILINE)
    assert ask("revoke", "192.0.2.7")[0] == DONE
    status, _, err = ask("revoke", "192.0.2.7")
    assert status == REFUSED and "exactly this address" in err
    assert ask("deny", "192.0.2.1", "--user", "alice")[0] == USAGE
    assert ask("permit")[0] == USAGE


@pytest.mark.parametrize("command, titles", [
    (["sessions"], "ID CLIENT USER HELO TLS BACKEND STATE AGE MSGS RCPTS IN OUT"),
    (["sessions", "--user", "bob"], "ID CLIENT USER HELO TLS BACKEND STATE AGE MSGS RCPTS IN OUT"),
    (["permits"], "ORDER ADDRESS USER LEFT"),
    (["failures"], "TIME TIMES KIND LISTENER CLIENT USER REASON")])
def test_empty_list_is_seen_to_be_one(ask, command, titles):
    status, out, err = ask(*command)
    assert (status, out.split(), err) == (DONE, titles.split(), "")
    assert out.count("\n") == 1


@pytest.mark.parametrize("command", ["permit", "deny", "revoke"])
@pytest.mark.parametrize("address, fault", [
    ("192.0.2.7/24", "has bits set behind its prefix"),
    ("mail.example.org", "is not an address, or network in CIDR notation")])
def test_address_that_is_none_is_told_why(ask, command, address, fault):
    status, out, err = ask(command, address)
    assert (status, out) == (REFUSED, "") and f"the address {fault}" in err


@pytest.mark.parametrize("command", ["sessions", "kick"])
def test_filter_that_is_none_is_told_why(ask, command):
    status, out, err = ask(command, "--address", "192.0.2.7/24")
    assert (status, out) == (REFUSED, "") and "the address has bits set behind its prefix" in err


@pytest.mark.parametrize("time", ["30min", "1.5h", "m", "-5", "5 m"])
def test_time_that_is_none_is_told_its_form(ask, time):
    status, out, err = ask("deny", "192.0.2.7", "--for", time)
    assert (status, out) == (REFUSED, "") and "as in 90s, 30m, 2h or 7d" in err


@pytest.mark.parametrize("time", ["0", "367d", "99999999999999999999d"])
def test_time_that_is_too_long_or_none_at_all_is_told_its_bounds(ask, time):
    status, out, err = ask("deny", "192.0.2.7", "--for", time)
    assert (status, out) == (REFUSED, "") and "from a second to a year" in err


@pytest.mark.parametrize("network", ["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3",
                                     "::ffff:0.0.0.0/96"])
def test_the_world_is_not_refused_by_a_slip_of_the_hand(ask, network):
    """554 sends mail back; who wants nobody now has drain."""
    status, out, err = ask("deny", network)
    assert (status, out) == (REFUSED, "") and "drain" in err
    assert ask("permit", network)[0] == REFUSED
    assert not json.loads(ask("--json", "permits")[1])["permits"]


@pytest.mark.parametrize("network", ["10.0.0.0/8", "2001::/16"])
def test_large_network_may_be_refused(ask, network):
    status, out, _ = ask("deny", network)
    assert status == DONE and network in out


def test_scripts_get_json(postern, ask):
    with postern.log_in():
        status, out, _ = ask("--json", "sessions")
        assert status == DONE and json.loads(out)["sessions"][0]["user"] == "alice"
        assert json.loads(ask("-j", "status")[1])["sessions"]["total"] == 1
    assert json.loads(ask("-j", "kick", "--address", "x")[1])["error"]


def test_scripts_get_the_same_status(postern, ask):
    with postern.log_in() as client:
        for options in ([], ["--json"]):
            assert ask(*options, "kick", "nosuch")[0] == REFUSED
            assert ask(*options, "revoke", "192.0.2.7")[0] == REFUSED
        status, out, _ = ask("--json", "kick", "--user", "alice")
        assert status == DONE and json.loads(out)["ended"] == 1
        client.reply(421)
    postern.configure(tls={"key": "/nowhere/key.pem"})
    for options in ([], ["--json"]):
        assert ask(*options, "reload")[0] == REFUSED


def test_a_long_list_says_that_it_is_cut(postern, ask):
    held = [postern.log_in() for _ in range(3)]
    status, out, err = ask("sessions", "--limit", "2")
    assert (status, len(out.splitlines()), err) == (DONE, 3,
                                                    "posternctl: 2 of 3 sessions are shown\n")
    for client in held:
        client.close()


def test_draining_and_resuming(ask):
    assert ask("drain") == (DONE, "draining\n", "")
    assert "draining" in ask("status")[1]
    assert ask("health")[0] == REFUSED
    assert ask("resume") == (DONE, "serving\n", "")
    assert ask("health") == (DONE, "serving\n", "")


def test_the_level_of_the_log(ask):
    assert ask("log", "debug") == (DONE, "debug\n", "")
    status, _, err = ask("log", "loud")
    assert status == REFUSED and "error, warning" in err


def test_a_reload_says_what_is_wrong(postern, ask):
    status, out, _ = ask("reload")
    assert (status, out) == (DONE, "reloaded\n")
    postern.configure(tls={"key": "/nowhere/key.pem"})
    status, out, err = ask("reload")
    assert (status, out) == (REFUSED, "")
    assert ": tls: key: /nowhere/key.pem: cannot read the key" in err and "stays as it was" in err


def test_a_reload_says_everything_that_is_wrong(postern, ask):
    """Of the file all that there is, and of the host all that it lacks."""
    text = postern.configuration_path.read_text()
    postern.configuration_path.write_text(
        text + "".join(f"nokey{number} = 1\n" for number in range(40)))
    status, _, err = ask("reload")
    assert status == REFUSED
    assert [f"nokey{number}: there is no such key" in err for number in range(40)] == [True] * 40
    postern.configure(user="no-such-user", log={"destination": "file", "file": "/nowhere/log"})
    status, _, err = ask("reload")
    assert status == REFUSED
    assert 'there is no user "no-such-user"' in err and "/nowhere/log cannot be opened" in err


def test_figures(ask):
    status, out, _ = ask("metrics")
    assert status == DONE and out.startswith("# HELP postern_")


def test_a_terminal_is_safe_from_clients(postern, ask):
    with postern.connect() as client:
        client.command("EHLO \\x1b[2J\"<b>", 250)
        out = ask("sessions")[1]
    assert "\\x1b[2J\"<b>" in out and out.replace("\n", "").isprintable()


@pytest.mark.parametrize("arguments", [["status"], ["--json", "status"], ["metrics"], ["--help"],
                                       ["--version"]])
def test_output_that_nobody_gets_is_told(postern, arguments):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([BINARY, "--socket", control.path_of(postern), *arguments],
                                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                                env={**os.environ, **posterns.SANITIZERS}, check=False)
    assert result.returncode == UNWRITTEN
    assert result.stderr == \
        "posternctl: the output cannot be written: No space left on device\n"


# when nobody answers

def test_no_socket_is_explained(tmp_path):
    status, out, err = ctl(tmp_path / "none", "status")
    assert (status, out) == (UNREACHABLE, "") and "is Postern running" in err


def test_a_dead_socket_is_explained(tmp_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    status, _, err = ctl(tmp_path / "dead", "status")
    assert status == UNREACHABLE and "Postern is not running" in err


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc", "/dev/null"])
def test_what_is_no_socket_is_told(path):
    status, _, err = ctl(path, "status")
    assert status == UNREACHABLE and err == f"posternctl: {path} is no socket\n"


@needs_root
def test_a_missing_permission_names_the_group(start, backend, scratch):
    postern = start(backend, admin={"group": "mail"})
    status, _, err = ctl(control.path_of(postern), "status", user="nobody", group=65534,
                         extra_groups=[], binary=posterns.for_everybody(BINARY, scratch))
    assert status == UNREACHABLE and 'members of the group "mail"' in err


@pytest.mark.parametrize("arguments", [[], ["stats"], ["status", "now"], ["kick"], ["log"],
                                       ["kick", "a", "b"], ["drain", "--user", "alice"],
                                       ["kick", "--limit", "3", "x"], ["--nonsense"],
                                       ["kick", "x" * 5000]])
def test_what_is_not_understood_is_not_asked(tmp_path, arguments):
    status, out, err = ctl(tmp_path / "none", *arguments)
    assert (status, out) == (USAGE, "") and err


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n{\"sessions\":[{", b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 100000])
def test_an_answer_that_is_none_is_not_shown(tmp_path, answer):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        status, out, err = ctl(tmp_path / "s", "sessions")
        thread.join()
    assert (status, out) == (UNREACHABLE, "") and err


def test_an_answer_cannot_move_the_cursor(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b'HTTP/1.1 400 Bad\r\n\r\n{"error":"\\u001b[2J\\u202e\x1b\\n"}')

        thread = threading.Thread(target=serve)
        thread.start()
        _, out, err = ctl(tmp_path / "s", "status")
        thread.join()
    assert (out + err).replace("\n", "").isprintable()


# what the manual and the completion say

def manual_commands():
    text = (ROOT / "etc/posternctl.8.in").read_text(encoding="utf-8")
    # "tail" does not end: test_tail.py runs it
    return re.findall(r"^((?:posternctl (?!tail)|curl ).*)$", text, re.MULTILINE)


@pytest.mark.parametrize("line", manual_commands())
def test_the_manuals_commands_work(postern, line):
    path = str(control.path_of(postern))
    with postern.log_in() as client:
        command = line.replace("/run/postern/control", path).replace(
            "posternctl ", f"{BINARY} --socket {path} ")
        result = subprocess.run(["sh", "-ec", command], capture_output=True, text=True,
                                timeout=60, check=False)
        assert result.returncode == 0 and '{"error"' not in result.stdout, result
        assert result.stdout or "198.51.100" in line
        client.close()


def complete(*words):
    """What bash would offer for the last of these words."""
    script = (f'source {ROOT}/etc/completion/posternctl.bash; COMP_WORDS=("$@"); '
              'COMP_CWORD=$(($# - 1)); _posternctl; printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["bash", "-c", script, "bash", "posternctl", *words],
                            env={**os.environ, "PATH": f"{BINARY.parent}:{os.environ['PATH']}"},
                            capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_and_sessions(postern):
    path = str(control.path_of(postern))
    assert complete("se") == ["sessions"]
    assert complete("log", "de") == ["debug"]
    with postern.log_in():
        identity = control.get(postern, "/sessions")["sessions"][0]["id"]
        assert complete("-s", path, "kick", "--user", "") == ["alice"]
        assert complete("-s", path, "kick", identity[:2]) == [identity]
    control.post(postern, "/permit?address=192.0.2.77&user=printer")
    assert complete("-s", path, "revoke", "192") == ["192.0.2.77"]


@pytest.fixture
def zsh(tmp_path):
    """zsh(line, expected): a real zsh shows what is expected when Tab is pressed behind the line."""
    keyboard, terminal = pty.openpty()
    environment = {**posterns.SANITIZERS, "PATH": f"{BINARY.parent}:{os.environ['PATH']}",
                   "TERM": "dumb", "HOME": str(tmp_path)}
    shell = subprocess.Popen(["zsh", "-f", "-i"], stdin=terminal, stdout=terminal, stderr=terminal,
                             env=environment, start_new_session=True)
    os.close(terminal)

    def await_text(expected):
        shown = b""
        while expected not in shown:
            assert select.select([keyboard], [], [], wait.PATIENCE)[0], (expected, shown)
            shown += os.read(keyboard, 4096)

    def run(line, expected):
        os.write(keyboard, line.encode() + b"\t")
        await_text(expected.encode())
        os.write(keyboard, b"\x15")
    os.write(keyboard, f"fpath=({ROOT}/etc/completion $fpath); autoload -Uz compinit && "
             f"compinit -u -d {tmp_path}/dump && echo rea''dy\n".encode())
    await_text(b"ready")
    yield run
    shell.kill()
    shell.wait()
    os.close(keyboard)


def test_zsh_completes_commands_sessions_and_orders(postern, zsh):
    path = str(control.path_of(postern))
    control.post(postern, "/permit?address=192.0.2.77&user=printer")
    with postern.log_in():
        identity = control.get(postern, "/sessions")["sessions"][0]["id"]
        zsh("posternctl resu", "resume")
        zsh(f"posternctl -s {path} kick --user ", "alice")
        zsh(f"posternctl --socket {path} sessions --address ", "127.0.0.9")
        zsh(f"posternctl -s {path} kick {identity[:3]}", identity)
        zsh(f"posternctl -s {path} revoke ", "192.0.2.77")


@pytest.mark.parametrize("path", ["etc/completion/posternctl.bash", "etc/completion/_posternctl"])
def test_completion_knows_every_command(path):
    known = re.findall(r"^  (\w+)", subprocess.run([BINARY, "--help"], capture_output=True,
                                                   text=True, check=True).stdout, re.MULTILINE)
    text = (ROOT / path).read_text(encoding="utf-8")
    assert known and all(re.search(rf"\b{command}\b", text) for command in known)
