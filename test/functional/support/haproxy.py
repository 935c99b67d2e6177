"""A real HAProxy: Debian's package, unpacked and not installed, in front of a Postern."""

import csv
import os
import pathlib
import socket
import subprocess

from support import package, processes, wait

#: With the libraries that Debian's HAProxy needs and not every machine has.
PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")

_SETTINGS = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind {front[0]}:{front[1]}
    server postern {back[0]}:{back[1]} {words}
"""


def configuration(front, back, words, more=()):
    """Takes connections at `front` and hands them to `back`. `words` stand behind the server's
    address, `more` are further lines of the section."""
    return _SETTINGS.format(front=front, back=back, words=words) \
        + "".join(f"    {line}\n" for line in more)


class HAProxy:
    """One running instance; `address` is one that its configuration binds."""

    def __init__(self, directory, configuration, address):
        self.work = pathlib.Path(directory)
        self.address = address
        prefix = package.unpack(*PACKAGES)
        libraries = ":".join(map(str, prefix.glob("usr/lib/*-linux-*")))
        path = self.work / "haproxy.cfg"
        path.write_text(configuration.replace(
            "\nglobal\n", f"\nglobal\n    stats socket {self.work}/stats level admin\n", 1))
        self._log_path = self.work / "haproxy.log"
        with open(self._log_path, "wb") as log:
            self._process = subprocess.Popen(
                [prefix / "usr/sbin/haproxy", "-db", "-f", path], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "LD_LIBRARY_PATH": libraries})
        try:
            wait.until(self._serves, "HAProxy's port")
        except BaseException:
            self.close()
            raise

    def _serves(self):
        assert self._process.poll() is None, self._log_path.read_text("utf-8", "replace")
        return wait.port_answers(self.address)

    def status(self, server="postern", section="front"):
        """What it thinks of a server: "UP", "DOWN", "no check" …"""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.work / "stats"))
            asking.sendall(b"show stat\n")
            text = asking.makefile().read()
        for row in csv.DictReader(text.lstrip("# ").splitlines()):
            if (row["pxname"], row["svname"]) == (section, server):
                return row["status"]
        raise AssertionError(text)

    def close(self):
        processes.end(self._process)
