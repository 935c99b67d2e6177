"""fail2ban, out of Debian's packages: its filters on files and on journals of systemd's form, and
in a namespace its server, which has a journal, a firewall of paper and a configuration that are
nobody else's."""

import os
import pathlib
import re
import shutil
import subprocess
import time

from support import namespace, package, processes, wait

ROOT = pathlib.Path(__file__).parents[3]
PACKAGES = ("fail2ban", "python3-systemd", "systemd-journal-remote", "libmicrohttpd12")
MACHINE = "0123456789abcdef0123456789abcdef"

#: What journald adds to whatever comes from the unit.
_TRUSTED = {"_BOOT_ID": MACHINE, "_MACHINE_ID": MACHINE, "_HOSTNAME": "mail", "_COMM": "postern",
            "_PID": "81", "_SYSTEMD_UNIT": "postern.service"}


def tree():
    return package.unpack(*PACKAGES)


def _environment(**more):
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(tree() / "usr/lib/python3/dist-packages"), **more}


def write_journal(path, entries):
    """A journal, as journald writes it, of {field: value} that have just come."""
    libraries = ":".join(map(str, tree().glob("usr/lib/*-linux-*")))
    text = "".join(
        f"__REALTIME_TIMESTAMP={int(time.time() * 1e6)}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        + "".join(f"{key}={value}\n" for key, value in {**_TRUSTED, **entry}.items()) + "\n"
        for number, entry in enumerate(entries))
    said = subprocess.run([tree() / "lib/systemd/systemd-journal-remote", f"--output={path}", "-"],
                          input=text.encode("utf-8", "surrogateescape"), capture_output=True,
                          env={**os.environ, "LD_LIBRARY_PATH": libraries}, check=False)
    assert said.returncode == 0 and path.exists(), said.stderr
    return f"systemd-journal[journalfiles={path}]"


def found(source, scratch, zone="UTC"):
    """(address, seconds since 1970) of each line that the filter counts, by fail2ban-regex."""
    filter_path = scratch / "postern.conf"
    shutil.copy(ROOT / "etc/fail2ban/postern.filter", filter_path)
    said = subprocess.run(
        ["/usr/bin/python3", tree() / "usr/bin/fail2ban-regex", "--out", "<ip> <time>", source,
         filter_path], capture_output=True, text=True, check=False, timeout=60,
        env=_environment(TZ=zone))
    assert "Traceback" not in said.stderr, said.stderr
    return [(ip, float(then)) for ip, then in re.findall(r"^([\d.]+|[\da-f:]+:[\da-f:]*) ([\d.]+)$",
                                                         said.stdout, re.MULTILINE)]


class House(namespace.Namespace):
    """A machine with a journal and fail2ban, as Debian installs it, as far as its programs see.
    What they want of the firewall is on paper, `asked_of_the_firewall()`."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        shutil.copytree(tree() / "etc/fail2ban", directory / "root/etc/fail2ban")
        super().__init__(
            directory, tree(), users={}, devices=True,
            writable=("/run", "/var/lib", "/var/log", "/etc/fail2ban"),
            etc={"machine-id": MACHINE + "\n", "fail2ban/jail.d/defaults-debian.conf": ""})
        for name in ("run/fail2ban", "run/systemd/journal", "var/lib/fail2ban", "bin",
                     f"var/log/journal/{MACHINE}"):
            self.path(name).mkdir(parents=True)
        self._paper = self.path("bin/asked")
        self._paper.touch()
        for name in ("iptables", "ip6tables"):
            self.path(f"bin/{name}").write_text(f'#!/bin/sh\necho "$*" >>{self._paper}\n')
            self.path(f"bin/{name}").chmod(0o755)
        self._server = None

    def have_journal(self, entries):
        write_journal(self.path(f"var/log/journal/{MACHINE}/system.journal"), entries)

    def run(self, script):
        """Lines of a shell, in the source's directory. Returns what they print."""
        said = subprocess.run(
            self.command("sh", "-ec", f"cd {ROOT}\n{script}"), capture_output=True, text=True,
            env=_environment(), timeout=60, check=False)
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout

    def start_server(self):
        environment = _environment()
        environment["PATH"] = f"{self.path('bin')}:{environment['PATH']}"
        self._server = subprocess.Popen(self.command("fail2ban-server", "-f", "start"),
                                        env=environment, start_new_session=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait.until(self._is_up, "fail2ban's server")

    def _is_up(self):
        assert self._server.poll() is None, self.log()
        return subprocess.run(self.command("fail2ban-client", "ping"), env=_environment(),
                              capture_output=True, check=False).returncode == 0

    def log(self):
        path = self.path("var/log/fail2ban.log")
        return path.read_text() if path.exists() else ""

    def asked_of_the_firewall(self):
        return self._paper.read_text()

    def close(self):
        if self._server:
            processes.end(self._server)
        super().close()
