"""Networks of a test's own: a namespace with a loopback that nobody else has, and cables."""

import concurrent.futures
import ctypes
import subprocess

import pytest

from support import wait

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """`script` is a shell's, run inside before anybody else is there."""

    def __init__(self, script=""):
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c",
             f"set -e; ip link set lo up; {script}\necho ready; read -r _"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        if self._holder.stdout.readline() != "ready\n":
            self._holder.wait(wait.PATIENCE)
            pytest.skip(f"no network namespace here: {self._holder.stderr.read().strip()}")

    @property
    def pid(self):
        """Of a process inside."""
        return self._holder.pid

    def command(self, *words):
        """Words that run a program inside; its pid is that of the process that is started."""
        return ["nsenter", f"--target={self.pid}", "--net", *map(str, words)]

    def run(self, function):
        """Calls it in a thread that is inside, and returns what it returns. Its sockets stay
        there."""
        with concurrent.futures.ThreadPoolExecutor(1, initializer=self._enter) as thread:
            return thread.submit(function).result()

    def _enter(self):
        """Of the thread that calls it."""
        with open(f"/proc/{self.pid}/ns/net", "rb") as namespace:
            if _libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def connect(self, other, ours, theirs):
        """A cable between two networks, with an address and its prefix length at each end."""
        self._ip("link", "add", "cable", "type", "veth", "peer", "name", "cable",
                 "netns", str(other.pid))
        for end, address in ((self, ours), (other, theirs)):
            end._ip("address", "add", address, "dev", "cable", "nodad")
            end._ip("link", "set", "cable", "up")

    def _ip(self, *words):
        subprocess.run(self.command("ip", *words), check=True)

    def close(self):
        """It goes with the last process and socket inside."""
        self._holder.stdin.close()
        self._holder.wait(wait.PATIENCE)
