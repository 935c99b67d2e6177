"""System calls of a process, told by strace."""

import collections
import contextlib
import ctypes
import os
import re
import shutil
import subprocess

import pytest

_CALL = re.compile(r"(\w+)\(")


_PTRACE_SEIZE = 0x4206


@contextlib.contextmanager
def held(pid):
    """A debugger that does not look: what it holds is not gone for its parent before it is here."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(_PTRACE_SEIZE, pid, None, None) < 0:
        pytest.skip(f"no debugger may hold a process: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        os.waitpid(pid, 0x40000000)  # __WALL


class Trace:
    """Starts a program under strace: `command` goes before its own."""

    def __init__(self, directory):
        self._prefix = directory / "trace"
        # A tracer beside the program, not above it: signals and exit status stay the program's.
        self.command = [shutil.which("strace") or "strace", "-DDD", "-q", "-ff", "-o", self._prefix]
        probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True,
                               check=False)
        if probe.returncode != 0:
            pytest.skip(f"strace may not look: {probe.stderr.decode().strip()}")

    def of(self, pid):
        return Calls(f"{self._prefix}.{pid}")


class Calls:
    """The calls of one process so far."""

    def __init__(self, path):
        self._path = path

    def _names(self):
        with open(self._path, encoding="utf-8", errors="replace") as file:
            for line in file:
                call = _CALL.match(line)
                if call and line.endswith("\n"):
                    yield call[1]

    def count(self, name):
        return sum(each == name for each in self._names())

    def most_in_a_row(self, name):
        """The most of these calls in one turn of the loop: between two waits for events."""
        most = count = 0
        for each in self._names():
            count = 0 if each.startswith("epoll_") and "wait" in each else count + (each == name)
            most = max(most, count)
        return most

    def names(self):
        return set(self._names())

    def by_session(self):
        """A Counter for each session that another has followed: what lies between two successful
        accepts, as clients come one after another."""
        sessions = []
        for name in self._names():
            if name == "accept4":
                sessions.append(collections.Counter())
            if sessions:
                sessions[-1][name] += 1
        return sessions[:-1]


def least(sessions):
    """Of each name the fewest calls: where no timer rang and nothing arrived in pieces."""
    names = set().union(*sessions)
    return +collections.Counter({name: min(calls[name] for calls in sessions) for name in names})


def excess(calls, ceilings):
    """{name: "n, and m are allowed"}, of those that were too many."""
    return {name: f"{count}, and {ceilings.get(name, 0)} are allowed"
            for name, count in sorted(calls.items()) if count > ceilings.get(name, 0)}


_STRING = r'"((?:[^"\\]|\\.)*)"'
_OPEN = re.compile(rf"(?:openat\(AT_FDCWD, |open\(){_STRING}, ([A-Z_|]+).*\) = \d")
_RUN = re.compile(rf"execve\({_STRING}, .*\) = 0")
_CHANGE = re.compile(rf"(?:unlink|mkdir|rmdir|chmod|chown|rename|truncate)\w*\((?:AT_FDCWD, )?"
                     rf"{_STRING}.*\) = 0")
_SOCKET = re.compile(rf"(?:bind|connect)\(\d+, {{sa_family=AF_UNIX, sun_path={_STRING}}}.*\) = 0")


def files(directory):
    """{(path, letters)} of what all traced processes have done with files: "r", "w" or "x"."""
    found = set()
    for trace in directory.glob("trace.*"):
        for line in trace.read_text(errors="replace").splitlines():
            if match := _OPEN.search(line):
                letters = {"O_RDONLY": "r", "O_WRONLY": "w", "O_RDWR": "rw"}[match[2].split("|")[0]]
                found.add((match[1], letters))
            elif match := _RUN.search(line):
                found.add((match[1], "x"))
            elif match := _CHANGE.search(line) or _SOCKET.search(line):
                found.add((match[1], "w"))
    return found
