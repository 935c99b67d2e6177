"""The log in a file of its own, and its rotation."""

import os
import pathlib
import re
import signal
import socket
import stat
import subprocess

import pytest

from conftest import needs_root
from support import control, logfmt, wait
from support import postern as posterns
from test_log import WARNED, WARNINGS

ROTATION = pathlib.Path(__file__).parents[2] / "etc/postern.logrotate"


class Log:
    def __init__(self, path):
        self.path = path

    def records(self, **fields):
        text = self.path.read_text() if self.path.exists() else ""
        return [record for record in map(logfmt.parse, text.splitlines())
                if all(record.get(key) == value for key, value in fields.items())]

    def wait_for(self, **fields):
        return wait.until(lambda: self.records(**fields), f"{fields} in {self.path}")


@pytest.fixture
def log(scratch):
    directory = scratch / "log"
    directory.mkdir(mode=0o755)
    return Log(directory / "postern.log")


@pytest.fixture
def filed(start, backend, log):
    """filed(…) -> a Postern that logs to the file."""
    def run(**settings):
        settings.setdefault("log", {"destination": "file", "file": log.path})
        postern = start(backend, ready=False, **settings)
        wait.until(lambda: any(record.get("msg", "").startswith("serving:")
                               for record in log.records()), "the server")
        return postern
    return run


def visit(postern, user="alice"):
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        one.quit()


def test_every_process_writes_to_the_file(filed, log):
    postern = filed()
    visit(postern)
    record, = log.wait_for(event="session ended")
    assert record["user"] == "alice" and record["process"] == "reactor"
    assert re.fullmatch(r"\d{4}-.*Z", record["time"]) and record["level"] == "info"
    assert record["pid"] == str(postern.pids("reactor")[0])
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o640
    assert not postern.find_records(event="session ended")


def test_nothing_is_lost_at_the_end(filed, log):
    postern = filed()
    for _ in range(20):
        visit(postern)
    postern.stop()
    assert len(log.records(event="session ended")) == 20


def test_message_and_session_are_two_lines_of_the_file(filed, log):
    """They come from the reactor in one piece."""
    postern = filed()
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        one.quit()
    end = log.wait_for(event="session ended", port=str(one.port))[0]
    assert [record["event"] for record in log.records(id=end["id"])] == [
        "message", "session ended"]


def test_a_signal_opens_the_file_anew_and_no_line_is_lost(filed, log):
    postern = filed()
    rotated = Log(log.path.with_name("postern.log.1"))
    held = postern.log_in()
    log.path.rename(rotated.path)
    visit(postern)
    rotated.wait_for(event="session ended")
    os.kill(postern.pid, signal.SIGUSR1)
    log.wait_for(msg=f"{log.path} was opened again")
    held.quit()
    log.wait_for(event="session ended")
    assert len(rotated.records(event="session ended")) == 1


def test_a_file_that_cannot_be_opened_anew_stays(filed, log):
    postern = filed()
    away = Log(log.path.with_name("away"))
    log.path.rename(away.path)
    log.path.mkdir()
    os.kill(postern.pid, signal.SIGUSR1)
    place = re.escape(str(postern.configuration_path)) + r":\d+:\d+: log: file: "
    error, = wait.until(lambda: away.records(level="error"), "the error")
    assert re.fullmatch(place + re.escape(f"{log.path} cannot be opened: Is a directory"), error["msg"])
    visit(postern)
    away.wait_for(event="session ended")


def test_the_signal_does_nothing_without_a_file(postern):
    for pid in (postern.pid, *postern.pids("reactor"), *postern.team("auth worker", 2)):
        os.kill(pid, signal.SIGUSR1)
    visit(postern)


def test_a_file_that_cannot_be_opened_stops_the_start(start, backend, scratch):
    path = scratch / "nowhere" / "postern.log"
    postern = start(backend, log={"destination": "file", "file": path}, ready=False)
    assert postern.wait() != 0
    postern.abandon()
    assert f"log: file: {path} cannot be opened: No such file or directory" in postern.output()


def test_what_a_start_warns_of_is_in_the_file(filed, log):
    """The manual promises it in the log, and nobody keeps what was on the terminal."""
    postern = filed(**WARNED)
    texts = [record.get("msg", "") for record in log.records()]
    for warning in WARNINGS:
        assert any(warning in text for text in texts), (warning, texts)
    assert not postern.output()


def test_what_stops_a_start_is_in_the_file_and_on_the_terminal(start, backend, log):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        postern = start(backend, log={"destination": "file", "file": log.path}, ready=False,
                        listen={"submission": {"address": "%s:%d" % taken.getsockname()}})
        assert postern.wait() != 0
    postern.abandon()
    (error,) = log.records(level="error")
    assert "in use" in error["msg"] and f"postern: error: {error['msg']}\n" in postern.output()


def test_a_reload_moves_the_log_and_one_that_is_refused_does_not(filed, log, scratch):
    postern = filed()
    held = postern.log_in()
    moved = Log(log.path.with_name("moved.log"))
    postern.configure(log={"destination": "file", "file": moved.path})
    os.kill(postern.pid, signal.SIGHUP)
    wait.until(lambda: any(r.get("msg", "").startswith("reloaded") for r in moved.records()),
               "the reload")
    held.quit()  # of the generation before
    moved.wait_for(event="session ended")

    postern.configure(log={"destination": "file", "file": scratch / "no" / "log"})
    os.kill(postern.pid, signal.SIGHUP)
    wait.until(lambda: any(r.get("msg", "").startswith("reload refused") for r in moved.records()),
               "the refusal")
    visit(postern)
    wait.until(lambda: len(moved.records(event="session ended")) == 2, "the second session")


def test_lines_come_through_when_the_destination_changes(filed, log):
    """Of a reactor that logs for the file still, when there is none any more."""
    postern = filed()
    held = postern.log_in()
    postern.configure(log={"destination": "stderr"})
    postern.reload()
    held.quit()
    postern.wait_for_record(event="session ended", user="alice")


def reopen(postern):
    return subprocess.run([posterns.BINARY + "ctl", "-s", control.path_of(postern), "reopen"],
                          text=True, capture_output=True, timeout=wait.PATIENCE, check=False)


def test_posternctl_opens_the_file_again_and_waits_for_it(filed, log):
    postern = filed()
    rotated = Log(log.path.with_name("postern.log.1"))
    log.path.rename(rotated.path)
    result = reopen(postern)
    assert (result.returncode, result.stdout, result.stderr) == (0, "reopened\n", "")
    assert log.records(msg=f"{log.path} was opened again"), "it was not waited for"
    size = rotated.path.stat().st_size
    visit(postern)
    log.wait_for(event="session ended")
    assert rotated.path.stat().st_size == size


def test_file_that_cannot_be_opened_again_is_told_to_who_asks(filed, log):
    postern = filed()
    log.path.rename(log.path.with_name("away"))
    log.path.mkdir()
    result = reopen(postern)
    assert result.returncode == 1 and "the old one stays in use" in result.stderr, result
    log.path.rmdir()
    assert reopen(postern).returncode == 0


def test_log_without_a_file_is_told_to_who_wants_it_opened_again(postern):
    result = reopen(postern)
    assert result.returncode == 1 and "the log goes to no file" in result.stderr, result


@needs_root
def test_logrotate_asks_posternctl_and_waits(filed, log, scratch):
    """With the file that is installed and the real logrotate, where no systemd runs."""
    postern = filed()
    visit(postern)
    log.wait_for(event="session ended")
    binaries, configuration = scratch / "bin", scratch / "logrotate.conf"
    binaries.mkdir()
    (binaries / "posternctl").write_text(
        f'#!/bin/sh\nexec {posterns.BINARY}ctl -s {control.path_of(postern)} "$@"\n')
    (binaries / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    for each in binaries.iterdir():
        each.chmod(0o755)
    configuration.write_text(ROTATION.read_text().replace("/var/log/postern", str(log.path.parent)))
    configuration.chmod(0o644)
    subprocess.run(["logrotate", "--force", "--state", scratch / "state", configuration], check=True,
                   env={"PATH": f"{binaries}:/usr/sbin:/usr/bin:/sbin:/bin"})
    assert log.records(msg=f"{log.path} was opened again")
    assert Log(log.path.with_name("postern.log.1")).records(event="session ended")


@needs_root
def test_logrotate_rotates_it(filed, log, scratch):
    """With the file that is installed, the real logrotate, and a systemctl that sends the signal
    that it is asked for."""
    postern = filed()
    visit(postern)
    log.wait_for(event="session ended")
    binaries, configuration = scratch / "bin", scratch / "logrotate.conf"
    binaries.mkdir()
    (binaries / "systemctl").write_text(
        '#!/bin/sh\n[ "$*" = "kill --signal=USR1 --kill-who=main postern.service" ] || exit 1\n'
        f"kill -USR1 {postern.pid}\n")
    (binaries / "systemctl").chmod(0o755)
    configuration.write_text(ROTATION.read_text().replace("/var/log/postern", str(log.path.parent)))
    configuration.chmod(0o644)
    subprocess.run(["logrotate", "--force", "--state", scratch / "state", configuration], check=True,
                   env={"PATH": f"{binaries}:/usr/sbin:/usr/bin:/sbin:/bin"})
    log.wait_for(msg=f"{log.path} was opened again")
    visit(postern)
    log.wait_for(event="session ended")
    assert Log(log.path.with_name("postern.log.1")).records(event="session ended")
