"""Places for a log where nobody takes the lines, until a test begins to read.

Each has settings and options for starting a Postern that logs there. Before read() is called
nothing is taken; records() are what has come since.
"""

import fcntl
import os
import pty
import re
import socket
import subprocess
import threading
import tty

from support import logfmt, wait

#: What a directory that stands in the place of /dev has besides a log.
_DEVICES = ("null", "zero", "random", "urandom")
#: Puts "$1" in the place of /dev, for the program that follows and its children alone.
_OTHER_DEV = """
dev=$1
shift
mount --make-rprivate / 2>/dev/null || :
for name in null zero random urandom; do mount --bind "/dev/$name" "$dev/$name" || exit; done
mount --rbind "$dev" /dev || exit
exec "$@"
"""
#: A small file system at "$1".
_SMALL_DISK = """
disk=$1
shift
mount --make-rprivate / 2>/dev/null || :
mount -t tmpfs -o size=64k,mode=755 none "$disk" || exit
exec "$@"
"""


def other_dev(scratch):
    """A directory, and the command that gives a program that directory as its /dev."""
    directory = scratch / "dev"
    directory.mkdir()
    for name in _DEVICES:
        (directory / name).touch()
    return directory, ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _OTHER_DEV,
                       "sh", directory]


class StuckLog:
    def __init__(self, scratch):
        self.scratch = scratch
        self.options = {}
        self._text = ""
        self._thread = None

    def read(self, postern):
        """From now on somebody takes the lines."""
        self._thread = threading.Thread(target=self._collect, args=(self._open(postern),),
                                        daemon=True)
        self._thread.start()

    def records(self, **fields):
        """Whole lines; the first may have been torn by what had no room."""
        found = []
        for line in self._text.splitlines(keepends=True):
            try:
                record = logfmt.parse(line.rstrip("\r\n")) if line.endswith("\n") else {}
            except logfmt.Malformed:
                continue
            if record and all(record.get(key) == value for key, value in fields.items()):
                found.append(record)
        return found

    def wait_for_text(self, text):
        wait.until(lambda: text in self._text, f"{text!r} in the log")

    def started(self):
        """The Postern has been started."""

    def close(self):
        pass

    def _collect(self, descriptor):
        try:
            while piece := os.read(descriptor, 65536):
                self._text += piece.decode("utf-8", "replace")
        except OSError:
            pass  # a terminal that nobody has open any more
        os.close(descriptor)


class Syslog(StuckLog):
    """A /dev/log that is there, and is full soon."""

    def __init__(self, scratch):
        super().__init__(scratch)
        directory, command = other_dev(scratch)
        self.options = {"log": {"destination": "syslog"}, "command": command}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(directory / "log"))
        (directory / "log").chmod(0o666)

    def _open(self, postern):
        return os.dup(self._socket.fileno())

    def _collect(self, descriptor):
        while datagram := os.read(descriptor, 65536):
            text = datagram.decode("utf-8", "replace").rstrip("\0\n")
            self._text += re.sub(r"^<\d+>(\w{3} [ \d]\d [\d:]{8} )?postern\[\d+\]: ", "", text) + "\n"
        os.close(descriptor)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class StreamSyslog(Syslog):
    """The same as the stream socket that some servers make of it: nobody accepts."""

    def __init__(self, scratch):
        StuckLog.__init__(self, scratch)
        directory, command = other_dev(scratch)
        self.options = {"log": {"destination": "syslog"}, "command": command}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(directory / "log"))
        (directory / "log").chmod(0o666)
        self._socket.listen(8)
        self._accepted = []

    def _open(self, postern):
        return os.dup(self._socket.fileno())

    def _collect(self, descriptor):
        """A line ends with a NUL; each process has a connection of its own."""
        os.close(descriptor)
        try:
            while True:
                one, _ = self._socket.accept()
                self._accepted.append(one)
                threading.Thread(target=self._collect_from, args=(one,), daemon=True).start()
        except OSError:
            return

    def _collect_from(self, one):
        rest = b""
        while piece := one.recv(65536):
            *lines, rest = (rest + piece).split(b"\0")
            for line in lines:
                self._text += re.sub(r"^<\d+>(\w{3} [ \d]\d [\d:]{8} )?postern\[\d+\]: ", "",
                                     line.decode("utf-8", "replace")) + "\n"


class Fifo(StuckLog):
    """A FIFO as the log file, which has no reader when the server starts."""

    def __init__(self, scratch):
        super().__init__(scratch)
        self._path = scratch / "fifo"
        os.mkfifo(self._path, 0o600)
        self.options = {"log": {"destination": "file", "file": self._path}}

    def _open(self, postern):
        return os.open(self._path, os.O_RDONLY)


class Pipe(StuckLog):
    """Standard error is a pipe."""

    def __init__(self, scratch):
        super().__init__(scratch)
        self._reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
        self.options = {"stderr": writing}

    def started(self):
        os.close(self.options["stderr"])

    def _open(self, postern):
        return os.dup(self._reading)

    def close(self):
        os.close(self._reading)


class PipeWithoutReader(Pipe):
    """As after the end of the program that the lines are for; another one takes its place."""

    def __init__(self, scratch):
        StuckLog.__init__(self, scratch)
        self._path = scratch / "fifo"
        os.mkfifo(self._path, 0o600)
        reading = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self.options = {"stderr": os.open(self._path, os.O_WRONLY)}
        os.close(reading)

    def _open(self, postern):
        return os.open(self._path, os.O_RDONLY)

    def close(self):
        pass


class PipeOfAnother(Pipe):
    """One that the server may not open again: it belongs to root, and the server does not."""

    def __init__(self, scratch):
        super().__init__(scratch)
        self.options.update(
            command=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"])


class Terminal(Pipe):
    """Standard error is a terminal that has been halted, or whose other end is not read."""

    def __init__(self, scratch):
        StuckLog.__init__(self, scratch)
        self._reading, writing = pty.openpty()
        tty.setraw(writing)
        self.options = {"stderr": writing}


class FullDisk(StuckLog):
    """A file on a file system that is full, until there is room again."""

    def __init__(self, scratch):
        super().__init__(scratch)
        (scratch / "disk").mkdir()
        self.options = {
            "log": {"destination": "file", "file": scratch / "disk/log"},
            "command": ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _SMALL_DISK,
                        "sh", scratch / "disk"]}

    def _open(self, postern):
        root = f"/proc/{postern.pid}/root"
        subprocess.run(["nsenter", f"--target={postern.pid}", "--mount", "mount", "-o",
                        "remount,size=4m", self.scratch / "disk"], check=True)
        self._file = f"{root}{self.scratch}/disk/log"
        return None

    def _collect(self, descriptor):
        pass

    def records(self, **fields):
        with open(self._file, encoding="utf-8") as file:
            self._text = file.read()
        return super().records(**fields)


PLACES = {
    "syslog": Syslog,
    "syslog on a stream": StreamSyslog,
    "FIFO without a reader": Fifo,
    "pipe": Pipe,
    "pipe without a reader": PipeWithoutReader,
    "pipe of another user": PipeOfAnother,
    "terminal": Terminal,
    "full disk": FullDisk,
}
