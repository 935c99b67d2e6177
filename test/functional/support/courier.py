"""A real Courier: Debian's packages, unpacked and not installed, with everything of its own.

Postern starts its esmtpd for each session, so that Postern itself has to be started where
Courier's files are: in its mount namespace, by `command`. Needs root. What is accepted stays in
the queue: no courierd runs that could send it anywhere.
"""

import collections
import os
import pathlib
import socket
import subprocess

from support import example, package, wait
from support.maildir import subject_of
from support.namespace import Namespace
from support.syslog import Syslog

USERS = {"courier": 65204}
FILES = ("me", "locals", "defaultdomain", "esmtpacceptmailfor", "sizelimit")

#: A message in the queue: envelope, the message with LF as line ends, Courier's own notes about its
#: origin, as {letter: [text]}, and those about the notifications that each recipient shall cause.
Queued = collections.namedtuple("Queued", "sender recipients message notes notifications")


class Courier:
    def __init__(self, directory):
        self.work = pathlib.Path(directory)
        self.work.chmod(0o755)
        prefix = package.unpack("courier-mta", "courier-base", "courier-authlib",
                                "libcourier-unicode4", "libgdbm6", "libidn12")
        self._namespace = Namespace(
            self.work, prefix, users=USERS,
            etc={f"courier/{name}": example.text(f"courier/{name}", {}) for name in FILES},
            devices=True)
        self.syslog = Syslog(self._namespace.path("/dev/log"))
        for name in ("msgs", "msgq", "tmp", "track", "filters", "allfilters"):
            path = self._namespace.path("/var/lib/courier") / name
            path.mkdir()
            os.chown(path, USERS["courier"], USERS["courier"])

    @property
    def command(self):
        """In front of a program that is to see Courier's files."""
        return self._namespace.command()

    def esmtpd(self, **environment):
        """A session without Postern, as couriertcpd would start it: (process, socket)."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                self._namespace.command("setpriv", "--reuid=courier", "--regid=courier",
                                        "--init-groups", "/usr/sbin/courieresmtpd"),
                stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", **environment})
        return process, ours

    def queue(self):
        """What has been accepted so far."""
        found = []
        for path in sorted(self._namespace.path("/var/lib/courier").glob("tmp/*/C*"),
                           key=lambda path: path.stat().st_mtime_ns):
            if path.name.count(".") == 0:
                found.append(_read(path))
        return found

    def wait_for_message(self, subject):
        """The queued message with this Subject (choose one that no other test has)."""
        return wait.until(
            lambda: [each for each in self.queue() if subject_of(each.message) == subject],
            f"a message with the subject {subject!r}")[0]

    def accepted(self):
        """How many messages it has said 250 to."""
        return len(self.queue())

    def delivered(self, subject):
        """The message with this Subject, with LF as line ends."""
        return self.wait_for_message(subject).message

    def close(self):
        self._namespace.close()
        self.syslog.close()


def _read(control):
    notes, notifications = collections.defaultdict(list), []
    for line in control.read_text("utf-8", "surrogateescape").splitlines():
        notes[line[:1]].append(line[1:])
        if line[:1] == "r":  # what was said with MAIL: ENVID, RET; with RCPT, ORCPT and NOTIFY follow
            notifications.append([f"{letter}{text}" for letter in "et" for text in notes[letter]])
        elif line[:1] in ("R", "N"):
            notifications[-1].append(line)
    return Queued(notes.pop("s")[0], notes.pop("r"),
                  control.with_name("D" + control.name[1:]).read_bytes(), notes, notifications)
