"""Network namespaces of a test's own, tied together by pairs of interfaces. Needs root."""

import contextlib
import ctypes
import os
import subprocess

from support import wait

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """Held by a process that sleeps in it; gone when that is."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec cat"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._holder.stdout.readline()
        self.pid = self._holder.pid
        self.path = f"/proc/{self.pid}/ns/net"
        self.run("ip link set lo up")

    @property
    def command(self):
        """What runs another command in it."""
        return ("nsenter", f"--net={self.path}")

    def run(self, *lines):
        for line in lines:
            self._output(line)

    def _output(self, line):
        result = subprocess.run([*self.command, *line.split()], text=True, check=False,
                                capture_output=True)
        assert result.returncode == 0, f"{line}: {result.stderr}"
        return result.stdout

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile belong to it, and stay so."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(self.path, "rb") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def tie(self, name, addresses, other, other_name, other_addresses):
        """A pair of interfaces, each with its addresses ("10.0.0.1/24"). Both carry packets: one
        that is up loses what it is given until the kernel has come to know of its carrier."""
        self.run(f"ip link add {name} type veth peer name {other_name} netns {other.pid}")
        for space, link, each in ((self, name, addresses), (other, other_name, other_addresses)):
            for address in each:
                # Otherwise an IPv6 address is of no use until it is known to be nobody else's.
                space.run(f"ip address add {address} dev {link}"
                          + (" nodad" if ":" in address else ""))
            space.run(f"ip link set {link} up")
        for space, link in ((self, name), (other, other_name)):
            wait.until(lambda: " state UP " in space._output(f"ip -o link show {link}"),
                       f"a carrier of {link}")

    def close(self):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()
