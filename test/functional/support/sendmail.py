"""A real sendmail: Debian's packages, unpacked and not installed, with everything of its own.

It runs with the lines of one of the example's variants in a mount namespace, as root. Nothing of it
listens beyond loopback, nothing is looked up in the DNS; mail for mail.test ends in one Maildir,
and what it relays goes to a server of the test's.
"""

import contextlib
import os
import pathlib
import re
import subprocess

from support import example, package, processes, wait
from support.maildir import Maildir
from support.namespace import Namespace
from support.syslog import Syslog

USERS = {"smmta": 65207, "smmsp": 65208, "inbox": 65209}
#: And what they need that not every Debian has; m4 makes the configuration.
PACKAGES = ("sendmail-bin", "sendmail-base", "sendmail-cf", "libldap-2.5-0", "liblockfile1",
            "libwrap0", "m4", "libsigsegv2")

#: Where each variant has a port for Postern.
FRONTS = {"auth-param": "127.0.0.1", "transparent": "127.0.0.2"}

SITE = """\
define(`_USE_ETC_MAIL_')dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`accept_unresolvable_domains')dnl
FEATURE(`nocanonify')dnl
define(`confDOMAIN_NAME', `mail.example.org')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
define(`confPID_FILE', `/run/sendmail.pid')dnl
define(`confCONTROL_SOCKET_NAME', `')dnl
define(`confTO_IDENT', `0')dnl
define(`confTO_QUEUERETURN', `1h')dnl
define(`confREFUSE_LA', `0')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confMAX_MESSAGE_SIZE', `50000000')dnl
undefine(`ALIAS_FILE')dnl
define(`SMART_HOST', `relay:[{host}]')dnl
define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl
define(`LOCAL_MAILER_PATH', `/bin/sh')dnl
define(`LOCAL_MAILER_ARGS', `sh /etc/mail/deliver $u')dnl
MODIFY_MAILER_FLAGS(`LOCAL', `-w5:/|@')dnl
LOCAL_DOMAIN(`mail.test')dnl
DAEMON_OPTIONS(`Name=MTA, Family=inet, Addr=127.0.0.1, Port={listen}')dnl
MAILER(`local')dnl
MAILER(`smtp')dnl
"""

DELIVER = """\
cd /var/lib/inbox/Maildir || exit 75
cat >tmp/$$ && mv tmp/$$ "new/$(date +%s).$$" || exit 75
"""

#: Sendmail's own file, and the system's.
SERVICES = "passwd files\nhosts files\naliases files\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\n"


class Sendmail:
    """One running instance with the example's `variant`. `front` is the address that Postern is to
    speak to, at `front_port` if the variant has one for it; `address` is the one for everybody.
    What is for elsewhere goes to `smarthost`. It may be in a `network` of its own.
    `changes` are made to the example's lines, as {old: new}."""

    def __init__(self, directory, variant, smarthost, front_port, network=None, changes=()):
        self.work = pathlib.Path(directory)
        self.work.chmod(0o755)
        self.variant = variant
        self._network = network
        self.address = ("127.0.0.1", wait.free_port())
        self.front = (FRONTS[variant], front_port) if variant in FRONTS else self.address
        self._namespace = Namespace(
            self.work, package.unpack(*PACKAGES), users=USERS,
            etc={"mail/sendmail.mc": self._configuration(smarthost, dict(changes)),
                 "mail/service.switch": SERVICES, "nsswitch.conf": NSSWITCH,
                 "mail/deliver": DELIVER,
                 "mail/local-host-names": "", "mail/trusted-users": ""},
            devices=True)
        self._make_directories()
        self.syslog = Syslog(self._namespace.path("/dev/log"))
        self.maildir = Maildir(self._namespace.path("/var/lib/inbox/Maildir"))
        self._compile()
        self.start()

    def _configuration(self, smarthost, changes):
        host, _, port = smarthost.rpartition(":")
        text = SITE.format(host=host, port=port, listen=self.address[1])
        if self.variant in FRONTS:
            text += example.text(f"sendmail/{self.variant}/sendmail.mc", {
                "10025": self.front[1], **changes})
        return text

    def _make_directories(self):
        for name in ("spool/mqueue", "lib/sendmail", "lib/sendmail/host_status"):
            self._namespace.path(f"/var/{name}").mkdir(mode=0o700)
        for name in ("", "new", "tmp"):
            path = self._namespace.path("/var/lib/inbox/Maildir") / name
            path.mkdir()
            path.chmod(0o777)

    def _compile(self):
        made = subprocess.run(self._namespace.command("/usr/bin/m4", "/etc/mail/sendmail.mc"),
                              capture_output=True, text=True, check=False)
        assert made.returncode == 0 and not made.stderr, made.stderr
        (self._namespace.path("/etc/mail") / "sendmail.cf").write_text(made.stdout)

    def start(self):
        """At first, and again behind stop()."""
        command = self._namespace.command("/usr/libexec/sendmail/sendmail", "-bD", "-q5s")
        if self._network:
            command = [*self._network.command, *command]
        with open(self.work / "stderr", "ab") as log:
            self._process = subprocess.Popen(command, start_new_session=True,
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait.until(lambda: self._process.poll() is not None or self._answers(),
                       "sendmail's ports")
            assert self._process.poll() is None, (self.work / "stderr").read_text() + self.log()
        except BaseException:
            self.close()
            raise

    def _answers(self):
        with self._network.inside() if self._network else contextlib.nullcontext():
            return all(map(wait.port_answers, {self.address, self.front}))

    def log(self):
        return self.syslog.text()

    def wait_for_empty_queue(self):
        queue = self._namespace.path("/var/spool/mqueue")
        wait.until(lambda: not any(queue.glob("qf*")), "an empty queue")

    def accepted(self):
        """How many messages it has said 250 to."""
        return len(re.findall(r": from=<?\S*, size=\d+, .* nrcpts=[1-9]", self.log()))

    def delivered(self, subject):
        """The message with this Subject, which must stay the only one, with LF as line ends."""
        found = self.maildir.wait_for(subject)
        assert len(self.maildir.find(subject)) == 1
        return found

    def arrival(self, subject):
        """What its log has about a message that was delivered, in one string."""
        number = re.search(rb"\tby mail\.example\.org \(.*\) with \S+ id (\w+)",
                           self.delivered(subject))[1].decode()
        self.syslog.wait_for(f": {number}: from=")
        return "".join(re.findall(f": {number}: (.*\n)", self.log()))

    def stop(self):
        """With all its processes, and the sessions in them."""
        rest = processes.descendants(self._process.pid)
        processes.end(self._process)
        for pid in rest:
            if processes.alive(pid):
                os.kill(pid, 9)
        wait.until(lambda: not any(processes.alive(pid) for pid in rest), "sendmail's end")

    def close(self):
        self.stop()
        self._namespace.close()
        self.syslog.close()
