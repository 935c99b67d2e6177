"""A mail server that is a program: speaks SMTP on its standard input and output, and writes down
what it was started with. As a module, it makes such programs and reads what they have written.

    program.line("-oMai %{login}")     the line for the configuration
    program.sessions                   those of clients, in the order of their start
    program.tell("hang")               from now on they do not end with their session

What can be told: "hang" (does not end at the end of its input), "stubborn" (nor at SIGTERM),
"complain" (writes on standard error), "die" (at DATA, by a signal), "slow" (does not answer a
message until told "go on"), "deliver" (leaves a process behind that has the message, not the
session, and writes down when it is asked to end).
"""

import json
import os
import pathlib
import select
import stat
import sys

PROBE = "postern-probe"


class Session:
    """One process of the program."""

    def __init__(self, path):
        self.pid = int(path.stem)
        self._directory = path.parent
        for name, value in json.loads(path.read_text()).items():
            setattr(self, name, value)

    @property
    def is_probe(self):
        return self.environment.get("TCPREMOTEINFO") == PROBE

    @property
    def delivery(self):
        """(pid, has it been asked to end) of the process that it has left behind, if it has."""
        found = list(self._directory.glob(f"{self.pid}.delivery.*"))
        return (int(found[0].suffix[1:]), bool(found[0].read_text())) if found else None

    @property
    def has_whole_message(self):
        """And is slow to answer it."""
        return (self._directory / f"{self.pid}.whole").exists()

    @property
    def messages(self):
        return [path.read_bytes() for path in sorted(self._directory.glob(f"{self.pid}.message.*"))]


class Program:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir()
        self.directory.chmod(0o777)
        self.path = self.directory / "smtpd"
        self.path.write_text("#!/usr/bin/python3 -I\n" + pathlib.Path(__file__).read_text())
        self.path.chmod(0o755)

    def line(self, arguments=""):
        return f"{self.path} {self.directory} {arguments}".strip()

    def wrapper(self, *lines):
        """The line for the configuration of a shell script; "$@" is this program in it."""
        path = self.directory / "wrapper"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return f"{path} {self.line()}"

    def tell(self, *words):
        for word in words:
            (self.directory / word).touch()

    @property
    def all(self):
        paths = sorted(self.directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [Session(path) for path in paths]

    @property
    def sessions(self):
        return [each for each in self.all if not each.is_probe]

    def session(self, number=0):
        from support import wait
        return wait.until(lambda: len(self.sessions) > number and self.sessions[number],
                          f"program {number}")


# From here on it is the program itself.

def status(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return line.partition(":")[2].strip()
    return None


def descriptors():
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            found[entry] = os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:
            pass  # that of listing them
    return found


def write_down(directory):
    import resource
    about = {
        "arguments": sys.argv[2:],
        "environment": dict(os.environ),
        "descriptors": descriptors(),
        "same": os.path.samestat(os.fstat(0), os.fstat(1)) and stat.S_ISSOCK(os.fstat(0).st_mode),
        "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        "directory": os.getcwd(),
        "leader": os.getsid(0) == os.getpid(),
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "status": {key: status(key) for key in ("SigBlk", "SigIgn", "CapPrm", "CapBnd", "CapAmb",
                                                "NoNewPrivs", "Umask")},
    }
    scratch = directory / f"{os.getpid()}.new"
    scratch.write_text(json.dumps(about))
    scratch.rename(directory / f"{os.getpid()}.json")


def say(text):
    sys.stdout.buffer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
    sys.stdout.buffer.flush()


def take_message(directory, number):
    lines = []
    for line in sys.stdin.buffer:
        if line == b".\r\n":
            break
        lines.append(line)
    else:
        return
    if (directory / "slow").exists():
        (directory / f"{os.getpid()}.whole").touch()
    while (directory / "slow").exists() and not (directory / "go on").exists():
        select.select([], [], [], 0.01)
    (directory / f"{os.getpid()}.message.{number:03}").write_bytes(b"".join(lines))
    if (directory / "deliver").exists() and os.fork() == 0:
        deliver(directory)
    say("250 2.0.0 Taken")


def deliver(directory):
    """Has all that the program has but the session, until there is nothing to tell it."""
    import signal
    for descriptor in (0, 1):
        os.close(descriptor)
    note = directory / f"{os.getppid()}.delivery.{os.getpid()}"
    signal.signal(signal.SIGTERM, lambda *_: note.write_text("asked"))
    note.touch()
    while (directory / "deliver").exists():
        select.select([], [], [], 0.01)
    os._exit(0)


def converse(directory):
    import signal
    number = 0
    say("220 program.test ESMTP")
    for line in sys.stdin.buffer:
        verb = line.split(None, 1)[0].upper() if line.strip() else b""
        if verb == b"EHLO":
            say("250-program.test\n250-PIPELINING\n250-8BITMIME\n250 SIZE 1000000")
        elif verb in (b"MAIL", b"RCPT", b"NOOP", b"RSET", b"HELO"):
            say("250 2.0.0 Ok")
        elif verb == b"DATA":
            if (directory / "die").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            say("354 Go ahead")
            take_message(directory, number)
            number += 1
        elif verb == b"QUIT":
            say("221 2.0.0 Bye")
            return
        else:
            say("500 5.5.2 What?")


def main():
    import signal
    directory = pathlib.Path(sys.argv[1])
    if (directory / "stubborn").exists():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write_down(directory)
    if (directory / "complain").exists():
        os.write(2, b"cannot open\tthe spool\nlevel=error fake=record\r\n\n" + b"x" * 3000 + b"\n")
    converse(directory)
    while (directory / "hang").exists() or (directory / "stubborn").exists():
        signal.pause()


if __name__ == "__main__":
    main()
