"""Postern as the first process of a container: nobody else is there to reap what others leave
behind, and signals that it does not take are not delivered."""

import os
import signal

import pytest

from support import processes, wait

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a PID namespace")

ALONE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.fixture
def first(start, backend, pam, scratch):
    """A Postern that is the first process, with a PAM module that leaves an orphan behind at each
    login, which ends when the test writes a line to "gate"."""
    gate = scratch / "gate"
    os.mkfifo(gate, 0o600)
    descriptor = os.open(gate, os.O_RDWR)
    script = scratch / "leave"
    script.write_text(f"#!/bin/sh\n(sh -c 'read -r line <{gate}; exit 3' >/dev/null 2>&1 &)\n")
    script.chmod(0o755)
    pam.service("orphan", f"auth required pam_exec.so quiet {script}",
                "auth required pam_permit.so", "account required pam_permit.so")
    postern = start(backend, command=ALONE, auth={"pam_service": "orphan"})
    postern.gate = descriptor
    (postern.first,) = processes.children(postern.pid)
    yield postern
    os.close(descriptor)


def orphans(postern):
    return [pid for pid in processes.children(postern.first)
            if not processes.title(pid).startswith("postern: ")]


def end(postern):
    os.kill(postern.first, signal.SIGTERM)
    assert postern.wait() == 0


def test_what_others_leave_behind_is_no_zombie(first):
    for _ in range(3):
        with first.log_in() as one:
            one.quit()
    wait.until(lambda: len(orphans(first)) == 3, "the orphans")
    os.write(first.gate, b"\n" * 3)
    wait.until(lambda: not orphans(first), "the end of the orphans")
    wait.until(lambda: not processes.zombies(first.first), "nothing that was not waited for")
    assert not first.find_records(level="error")
    end(first)


def test_sigterm_ends_it_and_sighup_reloads_it(first, backend):
    os.kill(first.first, signal.SIGHUP)
    first.wait_for_record(msg="reloaded: " + str(first.configuration_path))
    with first.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        os.kill(first.first, signal.SIGTERM)
        one.send(b"text\r\n.\r\n")
        one.reply(250)
    assert first.wait() == 0
    assert any(session.messages for session in backend.sessions)

