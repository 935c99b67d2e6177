"""Qmail's side of a session, as far as Debian has it: mailfront's smtpfront-qmail, which takes the
place of qmail-smtpd, with a qmail-queue of the test's behind it that keeps what it is given.

POSTERN_TEST_QMAIL_SMTPD names a real qmail-smtpd, built for /var/qmail, to be used instead. Needs
root.
"""

import collections
import json
import os
import pathlib
import shutil
import socket
import subprocess

from support import package, wait
from support.maildir import subject_of
from support.namespace import Namespace

USERS = {"qmaild": 65207}
REAL = os.environ.get("POSTERN_TEST_QMAIL_SMTPD")
PROGRAM = "/var/qmail/bin/qmail-smtpd"
#: As which it can be seen.
TITLES = (PROGRAM, "/bin/sh " + PROGRAM, "/usr/sbin/mailfront ")
CONTROL = {"me": "mail.example.org\n", "rcpthosts": "mail.test\n", "databytes": "50000000\n"}

#: Debian's looks for qmail in another place.
STAND_IN = "#!/bin/sh\nQMAILHOME=/var/qmail exec /usr/sbin/smtpfront-qmail\n"

#: qmail-queue(8): the message on descriptor 0, the envelope on 1.
QUEUE = """#!/usr/bin/python3 -I
import json, os
message, envelope = (open(number, "rb").read() for number in (0, 1))
sender, *recipients = envelope.decode().split("\\0")[:-2]
assert sender[0] == "F" and all(each[0] == "T" for each in recipients)
path = f"/var/lib/qmaild/{os.getpid()}"
open(path + ".new", "w").write(json.dumps([
    sender[1:], [each[1:] for each in recipients], message.decode("latin-1"), dict(os.environ)]))
os.rename(path + ".new", path + ".json")
"""

#: In the queue: envelope, the message with LF as line ends, and the environment that it came with.
Queued = collections.namedtuple("Queued", "sender recipients message environment")


class Qmail:
    def __init__(self, directory):
        self.work = pathlib.Path(directory)
        self.work.chmod(0o755)
        prefix = package.unpack("mailfront", "libbg2", "libcvm1", "liblua5.1-0")
        self._namespace = Namespace(self.work, prefix, users=USERS, etc={},
                                    writable=("/run", "/var", "/var/lib"))
        self._fill(self._namespace.path("/var/qmail"))

    @staticmethod
    def _fill(home):
        for name in ("bin", "control"):
            (home / name).mkdir(parents=True)
        for name, text in CONTROL.items():
            (home / "control" / name).write_text(text)
        (home / "bin/qmail-queue").write_text(QUEUE)
        (home / "bin/qmail-queue").chmod(0o755)
        if REAL:
            shutil.copy(REAL, home / "bin/qmail-smtpd")
        else:
            (home / "bin/qmail-smtpd").write_text(STAND_IN)
            (home / "bin/qmail-smtpd").chmod(0o755)

    @property
    def command(self):
        """In front of a program that is to see qmail's files."""
        return self._namespace.command()

    def smtpd(self, **environment):
        """A session without Postern, as tcpserver would start it: (process, socket)."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                self._namespace.command("setpriv", "--reuid=qmaild", "--regid=qmaild",
                                        "--init-groups", PROGRAM),
                stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin", **environment})
        return process, ours

    def queue(self):
        """What has been accepted so far."""
        found = []
        for path in self._namespace.path("/var/lib/qmaild").glob("*.json"):
            sender, recipients, message, environment = json.loads(path.read_text())
            found.append(Queued(sender, recipients, message.encode("latin-1"), environment))
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
