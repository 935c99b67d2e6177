"""A real Exim: Debian's package, unpacked and not installed, with everything of its own.

It runs one of the example's configurations in a mount namespace, as root. Nothing of it listens
beyond loopback, nothing is looked up in the DNS; mail for mail.test ends in one Maildir, and what
it relays goes to a server of the test's.
"""

import os
import pathlib
import re
import socket
import subprocess

from support import example, package, processes, wait
from support.maildir import Maildir
from support.namespace import Namespace

USERS = {"Debian-exim": 65205, "inbox": 65206}
#: And what they need that not every Debian has.
PACKAGES = ("exim4-daemon-heavy", "libgnutls-dane0", "libidn12", "libldap-2.5-0", "libmariadb3",
            "libpq5", "libspf2-2", "libunbound8")

SITE = """
begin routers
inside:
  driver = accept
  domains = +local_domains
  transport = inbox
outside:
  driver = manualroute
  route_list = * {host}
  self = send
  transport = smarthost

begin transports
inbox:
  driver = appendfile
  directory = /var/lib/inbox/Maildir
  maildir_format
  user = inbox
smarthost:
  driver = smtp
  port = {port}
  hosts_avoid_tls = *
  hosts_try_chunking =

begin retry
* * F,1h,1s
"""


class Exim:
    """One running instance of the example's `variant`. `front` is the address that Postern is to
    speak to, `address` the one for everybody; what is for elsewhere goes to `smarthost`. `main`
    are further lines for the configuration's first part; `changes` are made to the example's file,
    `site_changes` to SITE, as {old: new}."""

    def __init__(self, directory, variant, smarthost, main="", changes=(), site_changes=()):
        self.work = pathlib.Path(directory)
        self.variant = variant
        self.work.chmod(0o755)
        self.front = ("127.0.0.1", wait.free_port())
        self.address = ("127.0.0.1", wait.free_port())
        host, _, port = smarthost.rpartition(":")
        self._namespace = Namespace(
            self.work, package.unpack(*PACKAGES), users=USERS,
            etc={"exim4/exim4.conf": main + self._configuration(dict(changes)),
                 "exim4/site.conf": _changed(SITE.format(host=host, port=port), site_changes)},
            writable=("/run", "/var/lib", "/var/log", "/var/spool"))
        for name in ("/var/log/exim4", "/var/spool/exim4"):
            path = self._namespace.path(name)
            path.mkdir(mode=0o750)
            os.chown(path, USERS["Debian-exim"], USERS["Debian-exim"])
        self.maildir = Maildir(self._namespace.path("/var/lib/inbox/Maildir"))
        self.start()

    def _configuration(self, changes):
        changes = {**changes, "127.0.0.1.25": f"127.0.0.1.{self.address[1]}"}
        if self.variant != "program":
            changes["10025"] = self.front[1]
        return example.text(f"exim/{self.variant}/exim4.conf", changes)

    @property
    def command(self):
        """In front of a program that is to see Exim's files."""
        return self._namespace.command()

    def start(self):
        """At first, and again behind stop()."""
        with open(self.work / "stderr", "ab") as log:
            self._process = subprocess.Popen(
                self._namespace.command("/usr/sbin/exim4", "-bdf", "-q1m"),
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait.until(lambda: self._process.poll() is not None or
                       all(map(wait.port_answers, self._ports())), "Exim's ports")
            assert self._process.poll() is None, (self.work / "stderr").read_text() + self.log()
        except BaseException:
            self.close()
            raise

    def _ports(self):
        return [self.address] if self.variant == "program" else [self.address, self.front]

    def log(self):
        return "".join(path.read_text("utf-8", "replace") for path in
                       sorted(self._namespace.path("/var/log/exim4").glob("*log")))

    def wait_for_log(self, pattern):
        """The first match of the pattern in any line of the log."""
        try:
            return wait.until(lambda: re.search(pattern, self.log(), re.MULTILINE),
                              f"{pattern!r} in Exim's log")
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.log()[-4000:]}") from None

    def session(self, *options):
        """One without Postern, as that would start it: (process, socket)."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                self._namespace.command("setpriv", "--reuid=Debian-exim", "--regid=Debian-exim",
                                        "--clear-groups", "/usr/sbin/exim4", "-bs", *options),
                stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
        return process, ours

    def wait_for_empty_queue(self):
        queue = self._namespace.path("/var/spool/exim4/input")
        wait.until(lambda: not any(path.is_file() for path in queue.rglob("*")), "an empty queue")

    def accepted(self):
        """How many messages it has said 250 to."""
        return len(re.findall(r"^\S+ \S+ \S+ <= ", self.log(), re.MULTILINE))

    def number(self, subject):
        """Exim's own, of a message that was delivered."""
        return re.search(rb"\n\tid (\S+?)(?:;|\n)", self.delivered(subject))[1].decode()

    def arrival(self, subject):
        """What its log has about a message that was delivered: "<= …"."""
        return self.wait_for_log(rf"^\S+ \S+ {self.number(subject)} (<= .*)$")[1]

    def delivered(self, subject):
        """The message with this Subject, which must stay the only one, with LF as line ends."""
        found = self.maildir.wait_for(subject)
        assert len(self.maildir.find(subject)) == 1
        return found

    def stop(self, front=None):
        """With all its processes, and the sessions in them; also those that a Postern started."""
        rest = processes.descendants(self._process.pid)
        if front:
            rest += [pid for pid in processes.descendants(front.pid)
                     if processes.title(pid).startswith("/usr/sbin/exim4 ")]
        processes.end(self._process)
        for pid in rest:
            if processes.alive(pid):
                os.kill(pid, 9)
        wait.until(lambda: not any(processes.alive(pid) for pid in rest), "Exim's end")

    def close(self):
        self.stop()
        self._namespace.close()


def _changed(text, changes):
    for old, new in dict(changes).items():
        assert old in text
        text = text.replace(old, new)
    return text
