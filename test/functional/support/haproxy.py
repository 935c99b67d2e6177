"""A real HAProxy: Debian's package, unpacked and not installed, in front of a Postern."""

import os
import pathlib
import subprocess

from support import package, processes, wait

#: With the libraries that Debian's HAProxy needs and not every machine has.
PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")

_SETTINGS = """
global
    maxconn 100
    stats socket {work}/stats level admin
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen front
    bind {front[0]}:{front[1]}
    server postern {back[0]}:{back[1]} {server}
"""


class HAProxy:
    """Takes connections at `address` and hands them on to `back`. `server` are the words of the
    server line behind its address, `more` further lines of the section."""

    def __init__(self, directory, back, server, more=()):
        self.work = pathlib.Path(directory)
        self.address = ("127.0.0.1", wait.free_port())
        prefix = package.unpack(*PACKAGES)
        libraries = ":".join(map(str, prefix.glob("usr/lib/*-linux-*")))
        path = self.work / "haproxy.cfg"
        path.write_text(_SETTINGS.format(work=self.work, front=self.address, back=back,
                                         server=server)
                        + "".join(f"    {line}\n" for line in more))
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

    def status(self):
        """What it thinks of its server: "UP", "DOWN", "no check" …, and why."""
        import socket
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.work / "stats"))
            asking.sendall(b"show stat\n")
            text = asking.makefile().read()
        names, *rows = [line.split(",") for line in text.splitlines() if line]
        for row in rows:
            fields = dict(zip((name.lstrip("# ") for name in names), row))
            if fields["svname"] == "postern":
                return fields
        raise AssertionError(text)

    def close(self):
        processes.end(self._process)
