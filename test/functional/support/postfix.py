"""A real Postfix: Debian's package, unpacked and not installed, with everything of its own. Its only
port is the service that the page about Postfix has people make for Postern.

Needs root, as Postfix's master does. Nothing of it listens beyond loopback, nothing is looked up
in the DNS, mail ends in one Maildir.
"""

import contextlib
import grp
import os
import pathlib
import pwd
import re
import shutil
import signal
import stat
import subprocess

from support import example, package, processes, typed, wait
from support.maildir import subject_of

# Users that every Debian has. Postfix insists that these three share neither uid nor gid.
OWNER, SETGID, MAILBOX_OWNER = "news", "games", "mail"

MAIN = """
compatibility_level = 3.6
myhostname = backend.mail.test
mydomain = mail.test
mydestination =
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
inet_protocols = all
mail_owner = {owner}
setgid_group = {setgid}
default_privs = nobody
queue_directory = {work}/queue
data_directory = {work}/data
command_directory = {prefix}/usr/sbin
daemon_directory = {prefix}/usr/lib/postfix/sbin
shlib_directory = {prefix}/usr/lib/postfix
meta_directory = {work}/config
sendmail_path = {prefix}/usr/sbin/sendmail
mailq_path = {prefix}/usr/sbin/mailq
newaliases_path = {prefix}/usr/sbin/newaliases
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME LD_LIBRARY_PATH
export_environment = TZ LANG=C LD_LIBRARY_PATH
maillog_file = {work}/log/maillog
maillog_file_prefixes = {work}/log
alias_maps =
alias_database =
local_recipient_maps =
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_client_port_logging = yes
default_process_limit = 200
message_size_limit = 60000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = mail.test
virtual_mailbox_base = {work}/mail
virtual_mailbox_maps = static:inbox/
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
default_transport = discard:elsewhere
smtpd_recipient_restrictions =
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_security_options = noanonymous
"""

PAGE = example.DIRECTORY / "postfix/README.md"

# service type private unpriv chroot wakeup maxproc command
MASTER = """
{listen} inet n - n - - smtpd{options}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

# Enough for PLAIN to be there: XCLIENT's LOGIN is believed only where SASL works. Debian's
# Postfix looks for it below its configuration directory.
SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
mech_list: PLAIN
sasldb_path: {work}/config/sasl/sasldb2
"""

QUEUE_DIRECTORIES = {  # name: (group, mode)
    **{name: ("root", 0o700) for name in
       ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
        "saved", "trace")},
    "maildrop": (SETGID, 0o730),
    "public": (SETGID, 0o710),
}


def service_options():
    """What the page sets for Postern's service alone, as {name: value}."""
    (command,) = [each for each in typed.commands(PAGE) if each.startswith("postconf -Me")]
    return dict(re.findall(r" -o (\w+)=([^\s\"]*)", command))


class Postfix:
    """One running instance. `settings` take the place of the service's own, or go to main.cf after
    the usual ones."""

    def __init__(self, directory, **settings):
        self.work = pathlib.Path(directory)
        self.prefix = package.unpack("postfix")
        self.address = ("127.0.0.1", wait.free_port())
        self.maildir = self.work / "mail" / "inbox"
        self._environment = {"PATH": os.environ["PATH"],
                             "LD_LIBRARY_PATH": str(self.prefix / "usr/lib/postfix")}
        self._make_directories()
        self._write_configuration(settings)
        self.start()

    def _make_directories(self):
        owner = pwd.getpwnam(OWNER).pw_uid
        mailbox = pwd.getpwnam(MAILBOX_OWNER)
        os.chmod(self.work, 0o755)
        for name in ("config", "data", "log", "mail", "queue", "queue/pid", "config/sasl"):
            (self.work / name).mkdir(mode=0o755)
        for name, (group, mode) in QUEUE_DIRECTORIES.items():
            path = self.work / "queue" / name
            path.mkdir()
            os.chown(path, owner, grp.getgrnam(group).gr_gid)
            path.chmod(mode)
        os.chown(self.work / "data", owner, -1)
        os.chown(self.work / "mail", mailbox.pw_uid, mailbox.pw_gid)

    def _write_configuration(self, settings):
        mailbox = pwd.getpwnam(MAILBOX_OWNER)
        main = MAIN.format(work=self.work, prefix=self.prefix, owner=OWNER, setgid=SETGID,
                           uid=mailbox.pw_uid, gid=mailbox.pw_gid)
        options = service_options()
        for key, value in settings.items():
            if key in options:
                options[key] = value
            else:
                main += f"{key} = {value}\n"
        (self.work / "config/main.cf").write_text(_last_of_each(main))
        (self.work / "config/master.cf").write_text(MASTER.format(
            listen=f"127.0.0.1:{self.address[1]}",
            options="".join(f"\n  -o {{ {key} = {value} }}" for key, value in options.items())))
        shutil.copy(self.prefix / "usr/share/postfix/dynamicmaps.cf", self.work / "config")
        (self.work / "config/sasl/smtpd.conf").write_text(SASL.format(work=self.work))

    def start(self):
        """At first, and again behind stop() or kill(): in the foreground, in a session of its own,
        as `postfix start-fg` would."""
        self._process = subprocess.Popen(
            [self.prefix / "usr/lib/postfix/sbin/master", "-d", "-c", self.work / "config"],
            env=self._environment, cwd=self.work / "queue", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.work / "log/stderr", "wb"))
        try:
            wait.until(lambda: self._process.poll() is not None or
                       wait.port_answers(self.address), "Postfix's port")
            assert self._process.poll() is None, \
                (self.work / "log/stderr").read_text() + self.log()
        except BaseException:
            self.stop()
            raise

    def log(self):
        path = self.work / "log/maillog"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def wait_for_log(self, pattern, timeout=wait.PATIENCE):
        """The first match of the pattern in any line of the log."""
        try:
            return wait.until(lambda: re.search(pattern, self.log(), re.MULTILINE),
                              f"{pattern!r} in Postfix's log", timeout)
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.log()[-4000:]}") from None

    def message_paths(self):
        new = self.maildir / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def wait_for_message(self, subject):
        """The delivered message with this Subject (choose one that no other test has), raw."""
        return self._wait_for(lambda raw: subject_of(raw) == subject,
                              f"a message with the subject {subject!r}")

    def wait_for_text(self, text):
        """The delivered message that has this anywhere, raw."""
        return self._wait_for(lambda raw: text.encode() in raw, f"a message with {text!r}")

    def _wait_for(self, is_it, what):
        def find():
            for path in self.message_paths():
                raw = path.read_bytes()
                if is_it(raw):
                    return raw
            return None
        try:
            return wait.until(find, what)
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.log()[-4000:]}") from None

    def queue_id_of(self, subject):
        """Of a delivered message, from its Received line."""
        raw = self.wait_for_message(subject)
        return re.search(rb"E?SMTPS?A?S? id (\w+)", raw).group(1).decode()

    def client_line(self, subject):
        """What smtpd logged for a delivered message: "client=…, sasl_method=…, …"."""
        return self.wait_for_log(rf"smtpd\[\d+\]: {self.queue_id_of(subject)}: (client=.*)$").group(1)

    def delivered(self, subject):
        """The message with this Subject, which must stay the only one, with LF as line ends."""
        found = self.wait_for_message(subject)
        assert sum(subject_of(path.read_bytes()) == subject for path in self.message_paths()) == 1
        return found

    def wait_for_empty_queue(self):
        """What it has said 250 to has been delivered."""
        wait.until(lambda: not any(map(_is_ready, self._queue_files())), "an empty queue")

    def _queue_files(self):
        for name in ("incoming", "active", "deferred"):
            yield from (self.work / "queue" / name).rglob("*")

    def accepted(self):
        """How many messages for mail.test it has said 250 to, with one recipient each."""
        self.wait_for_empty_queue()
        return len(self.message_paths())

    def stop(self):
        """With the sessions in it."""
        self._end(signal.SIGTERM)

    def kill(self):
        """No process of it can put anything in order."""
        self._end(signal.SIGKILL)

    def _end(self, number):
        if self._process.poll() is not None:
            return
        # smtpd processes keep running for their clients; they are the master's children.
        rest = processes.descendants(self._process.pid)
        processes.end(self._process, number)
        for pid in rest:
            if processes.alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        wait.until(lambda: not any(processes.alive(pid) for pid in rest), "Postfix's end")


def _is_ready(path):
    """Is it a message, to its end? It is nobody's before, and stays so if cleanup is killed."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False  # on its way from one queue to the next, which is looked at later
    return stat.S_ISREG(mode) and bool(mode & stat.S_IXUSR)


def _last_of_each(main):
    """Postfix warns of settings that are given twice: the last one stays."""
    settings = {}
    for line in main.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            settings.pop(key.strip(), None)
            settings[key.strip()] = value.strip()
    return "".join(f"{key} = {value}\n" for key, value in settings.items())
