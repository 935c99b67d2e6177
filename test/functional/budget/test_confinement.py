"""The AppArmor profile and the unit's filter of system calls let a release do what it does, told by
its system calls: most machines that run tests enforce neither."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from support import control, systemd, tracing, wait
from support import postern as posterns
from support.apparmor import Profile
from support.tracing import Calls

PROFILE = pathlib.Path(__file__).parents[3] / "etc/postern.apparmor.in"
#: A removed directory is their root; what they see there is nobody's.
WITHIN = {".", "/", "/dev/null"}


@pytest.fixture(scope="module")
def profile(work):
    path = work / "postern.apparmor"
    path.write_text(PROFILE.read_text().replace("@sbindir@", "/usr/sbin")
                    .replace("@sysconfdir@", "/etc"))
    return Profile(path)


def test_profile_compiles(profile):
    profile.compile()


def as_installed(path, postern, certificates, pam):
    """Where an installed one would have what a test has elsewhere."""
    for here, there in ((postern.directory / "control", "/run/postern/control"),
                        (postern.directory / "postern.log", "/var/log/postern/postern.log"),
                        (postern.directory, "/etc/postern"),
                        (pathlib.Path(certificates.certificate).parent, "/etc/postern"),
                        (pam.directory, "/etc/pam.d"), ("/proc/self/exe", "/usr/sbin/postern"),
                        ("/proc/self/", "/proc/81/"),
                        (posterns.BINARY, "/usr/sbin/postern")):
        if path.startswith(str(here)):
            path = there + path[len(str(here)):]
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="a release starts as root")
def test_everything_that_a_release_does_is_allowed(start, backend, profile, certificates, pam,
                                                   scratch):
    trace = tracing.Trace(scratch)
    log = scratch / "postern-0" / "postern.log"
    postern = start(backend, command=[*trace.command, "-e", "trace=%file,bind,connect"],
                    ready=False, auth={"pam_service": "unix"},
                    log={"destination": "file", "file": log})
    def written(text):
        return lambda: log.exists() and text in log.read_text()
    wait.until(written("serving: "), "the server")
    with postern.connect() as one:
        one.ehlo()
        one.login("nobody", "wrong", 535)
        one.quit()
    postern.configure(auth={"pam_service": "users"})
    control.post(postern, "/reload")
    with postern.log_in() as one:
        one.quit()
    os.kill(postern.pid, signal.SIGUSR1)
    wait.until(written("opened anew"), "the log file")
    postern.stop()
    done = {(as_installed(path, postern, certificates, pam), letters)
            for path, letters in tracing.files(scratch) if path not in WITHIN}
    assert ("/usr/sbin/postern", "x") in done and ("/etc/postern/postern.conf", "r") in done
    refused = sorted(each for each in done if not profile.allows(*each))
    assert not refused


def expand(name):
    """The calls of a group of systemd's, with those of the groups in it."""
    if not name.startswith("@"):
        return {name}
    shown = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name],
                           capture_output=True, text=True, check=True).stdout.splitlines()
    inside = {line.strip() for line in shown[1:] if line.strip() and "#" not in line}
    return set().union(*(expand(each) for each in inside))


def allowed_calls(drop_in=""):
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", systemd.UNIT + drop_in, re.MULTILINE):
        calls = set().union(*(expand(name) for name in line.lstrip("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def without_filter(scratch):
    """A kernel that knows of filters of system calls, and takes none."""
    return [*tracing.Trace(scratch).command, "-e", "inject=seccomp:error=EINVAL"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a release starts as root")
needs_filter = pytest.mark.skipif("libseccomp: yes" not in posterns.run("-V").stdout,
                                  reason="built without libseccomp")


@needs_root
@needs_filter
def test_neither_an_empty_root_nor_a_filter_is_no_start(start, backend, scratch):
    postern = start(backend, command=[*without_filter(scratch), *systemd.rights()], ready=False)
    postern.wait_for_record(level="error", msg=re.compile("^neither an empty root .* is needed$"))
    assert postern.wait() == 1
    postern.abandon()


@needs_root
@needs_filter
def test_an_empty_root_does_without_a_filter(start, backend, scratch):
    postern = start(backend, command=without_filter(scratch))
    postern.wait_for_record(level="notice", msg="system calls are not filtered: Invalid argument")
    postern.log_in().quit()


@needs_root
def test_every_system_call_is_in_the_unit_s_filter(start, backend, scratch):
    """But for those of the tracer's own start."""
    trace = tracing.Trace(scratch)
    postern = start(backend, command=[*trace.command, *systemd.rights()],
                    auth={"pam_service": "unix"})
    with postern.connect() as one:
        one.ehlo()
        one.login("nobody", "wrong", 535)
        one.quit()
    postern.configure(auth={"pam_service": "users"})
    postern.reload()
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        one.quit()
    postern.stop()
    called = set().union(*(Calls(path).names() for path in scratch.glob("trace.*")))
    assert {"seccomp", "accept4"} <= called
    assert not called - allowed_calls()


@needs_root
def test_every_system_call_for_transparent_connections_is_in_the_filter(start, backend, scratch):
    """A probe of the mail server goes the way of a session."""
    drop_in = systemd.drop_in('identity = "transparent"')
    trace = tracing.Trace(scratch)
    postern = start(backend, command=[*trace.command, *systemd.rights(drop_in)],
                    backend={"identity": "transparent"})
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "a probe")
    postern.sole("opener")
    postern.stop()
    called = set().union(*(Calls(path).names() for path in scratch.glob("trace.*")))
    assert "chroot" in called and "chroot" not in allowed_calls()
    assert not called - allowed_calls(drop_in)
