"""The Debian package, in a Debian of its own: built, installed, upgraded under a session, purged."""

import pathlib
import re
import signal
import subprocess

import pytest

from support import processes, wait
from support.client import Client
from support.debian import Debian

ROOT = pathlib.Path(__file__).parents[3]
USER, PASSWORD = "alice", "wonderland"


def build(output, *version):
    result = subprocess.run(["sh", ROOT / "etc/debian/build", output, *version],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (file,) = output.glob("postern_*.deb")
    return file


@pytest.fixture(scope="module")
def first(work):
    return build(work / "first")


@pytest.fixture(scope="module")
def second(work):
    return build(work / "second", "99.0")


class Installed:
    """The package in a tree, before and while it serves; the tests are steps of one story."""

    def __init__(self, directory, file):
        self.debian = Debian(directory)
        self.before = self.debian.files()
        self.said = self.debian.install(file)
        self.port = wait.free_port()
        self.process = None

    def set_up(self, backend):
        self.debian.run("postern", "setup", "--yes", "--self-signed", "--force",
                        "--hostname", "mail.example.org", "--backend", backend)
        path = self.debian.root / "etc/postern/postern.conf"
        text = re.sub(r'^listen (?:[^{]*)\{[^}]*\}\n', "", path.read_text(), flags=re.MULTILINE)
        path.write_text(f'{text}\nlisten "here" {{ address = "127.0.0.1:{self.port}" '
                        'tls = "implicit" }\n')
        self.debian.run("useradd", "--no-create-home", USER)
        self.debian.run("chpasswd", input=f"{USER}:{PASSWORD}\n")

    def start(self):
        self.debian.run("install", "-d", "/run/postern")
        log = open(self.debian.root / "tmp/log", "wb")
        self.process = subprocess.Popen(self.debian.command("/usr/sbin/postern"),
                                        stdin=subprocess.DEVNULL, stderr=log)
        wait.until(lambda: "serving: " in self.log(), "the server")

    def log(self):
        return (self.debian.root / "tmp/log").read_text()

    def status(self):
        return self.debian.run("posternctl", "status").stdout

    def log_in(self):
        made = Client(("127.0.0.1", self.port), tls=True)
        made.greeting()
        made.ehlo()
        made.login(USER, PASSWORD)
        return made

    def stop(self):
        if self.process:
            processes.end(self.process)
            self.process = None


@pytest.fixture(scope="module")
def installed(work, first):
    made = Installed(work / "debian", first)
    yield made
    made.stop()
    made.debian.close()


@pytest.fixture(scope="module")
def server():
    from support.backend import Backend
    made = Backend()
    yield made
    made.close()


@pytest.fixture(scope="module")
def serving(installed, server):
    installed.set_up(server.address)
    installed.start()
    return installed


def test_lintian_has_nothing_to_say(first):
    (changes,) = first.parent.glob("*.changes")
    result = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", changes],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_source_package_holds_what_it_needs(first):
    (source,) = first.parent.glob("*.tar.xz")
    names = subprocess.run(["tar", "-tf", source], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    inside = {name.partition("/")[2] for name in names}
    assert {"debian/control", "meson.build", "proxy/main.c", "test/run"} <= inside
    assert not [name for name in inside if name.startswith((".git/", "build"))]


def test_it_says_why_it_does_not_start_yet(installed):
    assert "not started, as its configuration is not complete" in installed.said
    assert "/etc/postern/fullchain.pem" in installed.said and "postern setup" in installed.said
    assert "postern" in (installed.debian.root / "etc/passwd").read_text()


def test_the_service_is_enabled_and_the_socket_is_not(installed):
    wanted = installed.debian.root / "etc/systemd/system/multi-user.target.wants"
    assert (wanted / "postern.service").is_symlink()
    assert not (wanted.with_name("sockets.target.wants") / "postern.socket").is_symlink()


def test_it_serves_a_user_of_the_system_after_setup(serving, server):
    assert "self-signed" in serving.debian.run("postern", "doctor", check=False).stdout
    with serving.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
        one.quit()
    assert any(session.messages for session in server.sessions)
    assert "mail.example.org: serving" in serving.status()


def test_upgrade_drops_no_session_and_keeps_the_configuration(serving, second):
    configuration = (serving.debian.root / "etc/postern/postern.conf").read_text()
    with serving.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        said = serving.debian.install(second)
        assert re.search(r"process \d+ goes over to the new version", said), said
        wait.until(lambda: "version 99.0" in serving.status(), "the new program")
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        one.send(b"text\r\n.\r\n")
        one.reply(250)
        with serving.log_in() as another:
            another.quit()
        one.quit()
    assert (serving.debian.root / "etc/postern/postern.conf").read_text() == configuration
    assert "sessions are lost" not in serving.log()


def test_upgrade_signals_no_other_process_whatever_it_is_told(serving):
    """A reactor that was taken over may name any process as its master."""
    script = (serving.debian.root / "var/lib/dpkg/info/postern.postinst").read_text()
    function = script[script.index("master() {"):].partition("\n}\n")[0] + "\n}\n"
    for number, expected in ((processes.children(1)[0] if processes.children(1) else 2, ""),
                             (serving.process.pid, str(serving.process.pid)), (999999999, "")):
        said = serving.debian.run("sh", "-c", f"""
            posternctl() {{ echo '{{"version":"1","master":{number},"x":1}}'; }}
            {function}
            master""").stdout.strip()
        assert said == expected


@pytest.fixture
def systemd(serving):
    """A tree in which systemd seems to run: what it is told, in order."""
    root = serving.debian.root
    told, program, place = root / "tmp/told", root / "usr/bin/systemctl", root / "run/systemd/system"
    assert not program.exists()
    program.write_text("""#!/bin/sh
        echo "$*" >>/tmp/told
        case $* in
        *is-enabled*) echo enabled ;;
        *is-active*) ! grep -q stop /tmp/told ;;
        esac
        """)
    program.chmod(0o755)
    place.mkdir(parents=True)
    yield lambda: told.read_text().splitlines() if told.exists() else []
    program.unlink()
    place.rmdir()
    place.parent.rmdir()
    told.unlink(missing_ok=True)


def position(told, *words):
    """Of the first order with these words."""
    return next(at for at, order in enumerate(told) if set(words) <= set(order.split()))


def test_removed_and_installed_again_it_serves_again(serving, second, systemd):
    """The configuration has stayed, so nothing is left to be done by hand."""
    serving.stop()
    serving.debian.run("apt-get", "remove", "-y", "postern")
    assert position(systemd(), "stop", "postern.service") < position(systemd(), "daemon-reload")
    assert (serving.debian.root / "etc/postern/postern.conf").exists()
    before = len(systemd())
    said = serving.debian.install(second)
    told = systemd()[before:]
    assert position(told, "daemon-reload") < position(told, "start", "postern.service")
    assert "not started" not in said and "new version" not in said


def test_purge_leaves_nothing(serving):
    serving.stop()
    serving.debian.run("userdel", USER)
    added = {"etc/postern/fullchain.pem", "etc/postern/privkey.pem"}
    for name in added:  # the postmaster's own
        (serving.debian.root / name).unlink(missing_ok=True)
    serving.debian.run("apt-get", "purge", "-y", "--autoremove", "postern")
    assert not serving.debian.files() - serving.before
    assert "postern" not in (serving.debian.root / "etc/passwd").read_text()
    assert "postern" not in (serving.debian.root / "etc/group").read_text()
