"""A real OpenSMTPD: Debian's package, unpacked and not installed, with everything of its own.

It runs the example's smtpd.conf in a mount namespace, as root. Nothing of it listens beyond
loopback; mail for mail.test ends in one Maildir, and what it relays goes to a server of the test's.
"""

import pathlib
import re
import subprocess

from support import example, package, processes, wait
from support.maildir import Maildir
from support.namespace import Namespace

USERS = {"opensmtpd": 65201, "opensmtpq": 65202, "inbox": 65203}
#: Who can get mail.
LOCAL = ("alice", "bob", "carol", "postmaster")


class OpenSMTPD:
    """One running instance. `front` is the address that Postern is to speak to, `address` the
    one for everybody; what is for elsewhere goes to `smarthost`, an address as "host:port"."""

    def __init__(self, directory, smarthost, **changes):
        self.work = pathlib.Path(directory)
        self.work.chmod(0o755)
        self.front = ("127.0.0.1", wait.free_port())
        self.address = ("127.0.0.1", wait.free_port())
        configuration = example.text("opensmtpd/smtpd.conf", {
            "port 10025": f"port {self.front[1]}", "port 25": f"port {self.address[1]}",
            "smarthost.example.org:25": smarthost, **changes})
        self._namespace = Namespace(
            self.work, package.unpack("opensmtpd"), users=USERS,
            etc={"smtpd.conf": configuration,
                 "aliases": "".join(f"{name}: inbox\n" for name in LOCAL)})
        self._namespace.path("/var/lib/opensmtpd/empty").mkdir()
        self.maildir = Maildir(self._namespace.path("/var/lib/inbox/Maildir"))
        self._log_path = self.work / "log"
        self.start()

    def start(self):
        """At first, and again behind stop()."""
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._namespace.command("/usr/sbin/smtpd", "-d"), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        try:
            wait.until(lambda: self._process.poll() is not None or
                       wait.port_answers(self.address), "OpenSMTPD's port")
            assert self._process.poll() is None, self.log()
        except BaseException:
            self.close()
            raise

    def log(self):
        return self._log_path.read_text("utf-8", "replace")

    def wait_for_log(self, pattern):
        """The first match of the pattern in any line of the log."""
        try:
            return wait.until(lambda: re.search(pattern, self.log(), re.MULTILINE),
                              f"{pattern!r} in OpenSMTPD's log")
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.log()[-4000:]}") from None

    def wait_for_empty_queue(self):
        queue = self._namespace.path("/var/spool/smtpd/queue")
        wait.until(lambda: not any(path.is_file() for path in queue.rglob("*")), "an empty queue")

    def accepted(self):
        """How many messages it has said 250 to."""
        return len(re.findall(r" smtp message msgid=", self.log()))

    def delivered(self, subject):
        """The message with this Subject, which must stay the only one, with LF as line ends."""
        found = self.maildir.wait_for(subject)
        assert len(self.maildir.find(subject)) == 1
        return found

    def stop(self):
        """With all its processes, and the sessions in them."""
        rest = processes.descendants(self._process.pid)
        processes.end(self._process)
        wait.until(lambda: not any(processes.alive(pid) for pid in rest), "OpenSMTPD's end")

    def close(self):
        self.stop()
        self._namespace.close()
