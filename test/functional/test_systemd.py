"""The systemd units, as far as they can be tried without systemd as the first process."""

import grp
import ipaddress
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from conftest import needs_root
from support import client, control, processes, systemd, wait
from support import postern as posterns
from support.program import Program

ETC = pathlib.Path(__file__).parents[2] / "etc"
#: In tenths, as systemd-analyze has it. What is left is what a root that binds ports and becomes
#: another user cannot do without; and without the former, as the manual has it.
EXPOSURE = 20
EXPOSURE_WITH_SOCKET_UNIT = 19

pytestmark = pytest.mark.skipif("libsystemd: yes" not in posterns.run("-V").stdout,
                                reason="built without libsystemd")


@pytest.fixture
def program(scratch):
    made = Program(scratch / "program")
    yield made
    (made.directory / "hang").unlink(missing_ok=True)


def unit(name, scratch):
    """As it is installed, with a program that is there."""
    text = (ETC / f"{name}.in").read_text().replace("@sysconfdir@", "/etc").replace(
        "@sbindir@/postern", str(posterns.BINARY))
    (scratch / name).write_text(text)
    return scratch / name


def analyze(*arguments):
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True,
                          text=True, check=False)


def test_units_are_understood(scratch):
    unit("postern.socket", scratch)
    result = analyze("verify", "--man=no", unit("postern.service", scratch))
    assert result.returncode == 0 and "postern" not in result.stderr, result.stderr


def test_exposure_is_no_greater(scratch):
    result = analyze("security", "--offline=true", f"--threshold={EXPOSURE}",
                     unit("postern.service", scratch))
    assert result.returncode == 0, result.stdout


def test_exposure_is_less_with_the_socket_unit(scratch):
    service = unit("postern.service", scratch)
    without = "CapabilityBoundingSet=~CAP_NET_BIND_SERVICE"
    assert without in (ETC / "postern.8.in").read_text().splitlines()
    service.write_text(service.read_text().replace("[Install]", f"{without}\n[Install]"))
    result = analyze("security", "--offline=true", f"--threshold={EXPOSURE_WITH_SOCKET_UNIT}",
                     service)
    assert result.returncode == 0, result.stdout


def test_start_that_fails_is_tried_again_for_ever():
    """A certificate or a file system that comes late; systemd gives up after the fifth start within
    ten seconds (systemd-system.conf(5): DefaultStartLimitBurst, DefaultStartLimitIntervalSec)."""
    assert systemd.values(systemd.UNIT, "Restart") == ["on-failure"]
    seconds = float(_only(systemd.values(systemd.UNIT, "RestartSec")))
    limits = [systemd.values(systemd.UNIT, key) for key in ("StartLimitIntervalSec", "StartLimitBurst")]
    assert limits == [[], []] and 4 * seconds > 10


def _only(found):
    (one,) = found
    return one


def test_every_client_and_mail_server_may_be_spoken_with():
    """systemd lets pass what is allowed, whatever is denied: that is all but multicast."""
    text = (ETC / "postern.service.in").read_text()
    allowed = [ipaddress.ip_network(each) for each in systemd.values(text, "IPAddressAllow")]
    assert systemd.values(text, "IPAddressDeny") == ["any"]
    for every, multicast in (("0.0.0.0/0", "224.0.0.0/4"), ("::/0", "ff00::/8")):
        every, multicast = ipaddress.ip_network(every), ipaddress.ip_network(multicast)
        assert sorted(each for each in allowed if each.version == every.version) == sorted(
            every.address_exclude(multicast))


def test_socket_unit_has_the_default_ports(scratch):
    (scratch / "postern.conf").write_text((ETC / "postern.conf").read_text())
    ports = re.findall(r"^  address = \"\[::\]:(\d+)\"", (ETC / "postern.conf").read_text(),
                       re.MULTILINE)
    assert ports and systemd.values((ETC / "postern.socket.in").read_text(), "ListenStream") == ports


@needs_root
def test_rights_of_the_unit_suffice(start, backend, system_user):
    """Login of a system's user, administration for a group, reload, an end by force, a stop."""
    group = grp.getgrnam("mail")
    postern = start(backend, auth={"pam_service": "unix"}, admin={"group": group.gr_name}, command=[
        *systemd.rights(), f"--groups={group.gr_gid}"])
    assert processes.status(postern.pid, "NoNewPrivs") == "1"
    assert processes.status(postern.sole("reactor"), "Seccomp") == "2"
    with postern.log_in(system_user.name, system_user.password) as one:
        one.quit()
    assert control.path_of(postern).stat().st_gid == group.gr_gid
    postern.reload()
    reactor = postern.sole("reactor")
    held = postern.log_in(system_user.name, system_user.password)
    os.kill(reactor, signal.SIGSTOP)  # ends by SIGKILL alone
    postern.configure(timeouts={"drain": 1})
    postern.reload()
    postern.signal(signal.SIGTERM)
    postern.signal(signal.SIGTERM)
    assert postern.wait() == 0
    held.close()


@needs_root
def test_rights_of_the_drop_in_suffice_for_programs(start, program, backend):
    """Also to end one that does not; and there is no start without them."""
    program.tell("hang")
    settings = {"backend": {"address": None, "program": program.line(), "user": "daemon"}}
    postern = start(None, command=systemd.rights(systemd.drop_in("backends that are programs")),
                    **settings)
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        pid = program.session().pid
        one.quit()
    postern.wait_for_record(level="warning", msg=re.compile(rf"program {pid} does not end"))
    wait.until(lambda: processes.stat(pid) is None, "the end of the program")
    postern.reload()
    postern.stop()
    without = start(backend, command=systemd.rights())
    without.configure(backend=settings["backend"])
    assert any("without CAP_KILL" in line for line in without.reload_refused())


@needs_root
def test_what_the_manual_of_the_configuration_adds_to_the_unit_is_the_drop_in():
    (shown,) = re.findall(r"^\[Service\]\n(.*?)^\.Ed$", (ETC / "postern.conf.5.in").read_text(),
                          re.MULTILINE | re.DOTALL)
    assert shown == systemd.drop_in('identity = "transparent"')


class Notified:
    """What the supervisor is told."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def fill(self):
        """Until there is no room."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            try:
                while True:
                    made.sendto(b"full", str(self.path))
            except BlockingIOError:
                pass

    def hears(self, what, within):
        """Is it told that, within so many seconds from now?"""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            pass
        self._socket.settimeout(within)
        try:
            while what not in self._socket.recv(4096).decode().splitlines():
                pass
            return True
        except TimeoutError:
            return False


def test_watchdog_is_fed_while_every_reactor_turns(start, backend, scratch):
    notified = Notified(scratch / "notify")
    postern = start(backend, workers=2, environment={"NOTIFY_SOCKET": str(notified.path),
                                                     "WATCHDOG_USEC": "4000000"})
    assert notified.hears("WATCHDOG=1", 5)
    stuck, _ = postern.team("reactor", 2)
    os.kill(stuck, signal.SIGSTOP)
    try:
        postern.forgive()
        postern.wait_for_record(level="error", msg=re.compile(f"^reactor {stuck} is not responsive"))
        assert not notified.hears("WATCHDOG=1", 3)
    finally:
        os.kill(stuck, signal.SIGCONT)
    postern.wait_for_record(msg=f"reactor {stuck} is responsive again")
    assert notified.hears("WATCHDOG=1", 5)


def test_supervisor_that_does_not_read_stops_nothing(start, backend, scratch):
    """Neither a reload nor the end; and it is told later what it waits for."""
    notified = Notified(scratch / "notify")
    postern = start(backend, environment={"NOTIFY_SOCKET": str(notified.path),
                                          "WATCHDOG_USEC": "2000000"})
    assert notified.hears("WATCHDOG=1", wait.PATIENCE)
    notified.fill()
    postern.reload()
    assert notified.hears("READY=1", wait.PATIENCE)
    notified.fill()
    postern.stop()


def test_systemd_opens_the_ports_and_starts_it_for_the_first_client(start, backend):
    address = ("127.0.0.1", wait.free_port())
    postern = start(backend, ready=False, listen={"submission": {"address": "%s:%d" % address}},
                    command=["systemd-socket-activate", "--listen", "%s:%d" % address])
    postern.forgive()  # what systemd's program says
    wait.until(lambda: wait.port_answers(address), "the port")
    with client.Client(address) as one:
        one.greeting()
        one.quit()
    postern.sole("reactor")


@needs_root
def test_directories_are_made_without_the_unit(scratch):
    (scratch / "etc").mkdir()
    for name in ("passwd", "group"):
        (scratch / "etc" / name).write_text(pathlib.Path("/etc", name).read_text())
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={scratch}", ETC / "postern.tmpfiles"],
                   check=True)
    assert (scratch / "run/postern").stat().st_mode & 0o777 == 0o755
    assert (scratch / "var/log/postern").stat().st_mode & 0o777 == 0o750
