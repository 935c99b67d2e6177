"""A real sshd on loopback, unpacked and not installed, which lets this user in with a key made for
it."""

import getpass
import os
import pathlib
import pwd
import re
import subprocess

from support import package, wait

#: As whom sshd runs what speaks to strangers; its name is built in.
USER = "sshd"


class Sshd:
    def __init__(self, directory):
        self._directory = pathlib.Path(directory)
        self._directory.mkdir(mode=0o700)
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            self._directory / name], check=True)
        self._port = wait.free_port()
        (self._directory / "config").write_text(
            f"ListenAddress 127.0.0.1:{self._port}\n"
            f"HostKey {self._directory}/host\nAuthorizedKeysFile {self._directory}/user.pub\n"
            "StrictModes no\nPermitRootLogin prohibit-password\nUsePAM no\nPidFile none\n")
        os.makedirs("/run/sshd", exist_ok=True)
        prefix = package.unpack("openssh-server", "libwrap0")
        libraries = ":".join(map(str, prefix.glob("usr/lib/*-linux-*")))
        self._made_user = self._make_user()
        self._log = open(self._directory / "log", "wb")
        self._server = subprocess.Popen(
            [prefix / "usr/sbin/sshd", "-D", "-e", "-f", self._directory / "config"],
            stderr=self._log, env={**os.environ, "LD_LIBRARY_PATH": libraries})
        wait.until(lambda: wait.port_answers(("127.0.0.1", self._port)), "sshd")

    @staticmethod
    def _make_user():
        try:
            pwd.getpwnam(USER)
            return False
        except KeyError:
            subprocess.run(["useradd", "--system", "--home-dir", "/run/sshd", "--shell",
                            "/usr/sbin/nologin", USER], check=True)
            return True

    def run(self, command):
        """Starts an ssh command as a manual shows it, with this server as its host."""
        words = re.fullmatch(r"ssh (.*) mail\.example\.org", command)[1].split()
        return subprocess.Popen(
            ["ssh", "-F", "none", "-p", str(self._port), "-i", self._directory / "user",
             "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
             "-o", f"UserKnownHostsFile={self._directory}/known", "-o", "ExitOnForwardFailure=yes",
             *words, f"{getpass.getuser()}@127.0.0.1"], stderr=self._log)

    def stop(self):
        self._server.terminate()
        self._server.wait()
        self._log.close()
        if self._made_user:
            subprocess.run(["userdel", USER], check=True)
