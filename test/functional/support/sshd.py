"""A real sshd on loopback, which lets this user in with a key made for it."""

import getpass
import os
import pathlib
import re
import subprocess

from support import wait


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
        self._log = open(self._directory / "log", "wb")
        self._server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f",
                                         self._directory / "config"], stderr=self._log)
        wait.until(lambda: wait.port_answers(("127.0.0.1", self._port)), "sshd")

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
