"""PAM services in a directory of their own, with Debian's stock modules."""

import os
import pathlib
import secrets
import signal
import subprocess

from support import processes

MATRIX = "/usr/lib/x86_64-linux-gnu/pam_wrapper/pam_matrix.so"

#: Users of the service "users" (and of all others that ask pam_matrix).
USERS = {
    "alice": "wonderland",
    "bob": "builder",
    "carol": "o'clock \"7\" $HOME",
    "dave@mail.test": "correct horse battery staple",
    "erika": "pässwörd",
}
#: Passes authentication, and the account phase refuses it.
LOCKED = ("locked", "still-right")

_RECORD = """#!/bin/sh
printf '%s\\n' "type=$PAM_TYPE user=$PAM_USER rhost=$PAM_RHOST tty=$PAM_TTY service=$PAM_SERVICE" \
    >>{path}
"""

# A NUL follows the password; the shell leaves it out.
_JUDGE = """#!/bin/sh
read -r password
echo "$PAM_USER" >>{asked}
test ! -e {outage} || exit 1
case $PAM_USER/$password in alice/wonderland | bob/builder) ;; *) exit 1 ;; esac
"""

# The test keeps the fifo open and writes a line for each that is to go on.
_STUCK = """#!/bin/sh
echo $$ >>{entered}
read -r line <{gate}
"""


class Pam:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.chmod(0o755)
        self._gate = self.directory / "gate"
        self._entered = self.directory / "entered"
        os.mkfifo(self._gate, 0o666)
        self._gate_descriptor = os.open(self._gate, os.O_RDWR | os.O_NONBLOCK)
        self._released = 0
        self._write_services()

    def _write_services(self):
        script = self._script("stuck", _STUCK.format(entered=self._entered, gate=self._gate))
        stuck = f"pam_exec.so quiet {script}"
        self.service("users", *self._users_of("users"))
        self.service("permit", "auth required pam_permit.so", "account required pam_permit.so")
        self.service("deny", "auth required pam_deny.so", "account required pam_deny.so")
        self.service("slow", "auth optional pam_faildelay.so delay=3000000",
                     *self._users_of("slow"))
        # libpam makes 10 to 30 seconds of it.
        self.service("very_slow", "auth optional pam_faildelay.so delay=20000000",
                     *self._users_of("very_slow"))
        self.service("slow_deny", "auth optional pam_faildelay.so delay=2000000",
                     "auth required pam_deny.so", "account required pam_permit.so")
        self.service("stuck", f"auth required {stuck}", *self._users_of("stuck"))
        self.service("stuck_account", *self._users_of("stuck_account"), f"account required {stuck}")
        # Only bob gets stuck.
        self.service("gated", "auth [success=ignore default=1] pam_succeed_if.so quiet user = bob",
                     f"auth required {stuck}", *self._users_of("gated"))
        # Takes PAM_USER from the environment of the worker.
        self.service("renamed", self._users_of("renamed")[0],
                     f"auth required {os.path.dirname(MATRIX)}/pam_set_items.so",
                     "account required pam_permit.so")
        self.service("unix", "auth required pam_unix.so", "account required pam_unix.so")
        # PAM thinks for a while about bob, and about nobody else.
        thoughtful = self._script("think", "#!/bin/sh\nexec sleep 0.4\n")
        self.service("thoughtful",
                     "auth [success=ignore default=1] pam_succeed_if.so quiet user = bob",
                     f"auth optional pam_exec.so quiet {thoughtful}",
                     *self._users_of("thoughtful"))
        # pam_exec says "system error" to a wrong password; a file that is there is an outage.
        self._asked, self.outage = self.directory / "asked", self.directory / "outage"
        judge = self._script("judge", _JUDGE.format(asked=self._asked, outage=self.outage))
        judging = f"pam_exec.so quiet expose_authtok {judge}"
        self.service("undecided", f"auth required {judging}", "account required pam_permit.so")
        # As the doctor advises: pam_deny says no.
        self.service("decided", f"auth [success=done default=ignore] {judging}",
                     "auth required pam_deny.so", "account required pam_permit.so")
        self.service("broken", "auth required no_such_module.so",
                     "account required pam_permit.so")
        self.service("no_account", "auth required pam_permit.so", "account required pam_deny.so")
        self.service("chatty", "auth required "
                     f"{os.path.dirname(MATRIX)}/pam_chatty.so info num_lines=3",
                     *self._users_of("chatty"))

    def service(self, name, *lines):
        (self.directory / name).write_text("".join(line + "\n" for line in lines))
        return name

    def _users_of(self, service):
        """The two lines that ask pam_matrix about USERS."""
        database = self.directory / f"{service}.users"
        database.write_text("".join(f"{user}:{password}:{service}\n"
                                    for user, password in USERS.items())
                            + f"{LOCKED[0]}:{LOCKED[1]}:elsewhere\n")
        return (f"auth required {MATRIX} passdb={database}",
                f"account required {MATRIX} passdb={database}")

    def _script(self, name, text):
        path = self.directory / f"{name}.sh"
        path.write_text(text)
        path.chmod(0o755)
        return path

    def recorded(self, directory):
        """Makes the service "recorded", which notes PAM's items; returns the file."""
        path = pathlib.Path(directory, "recorded")
        script = self._script("record", _RECORD.format(path=path))
        self.service("recorded", f"auth required pam_exec.so quiet {script}",
                     f"account required pam_exec.so quiet {script}", *self._users_of("recorded"))
        return path

    def spoiling(self, *deeds):
        """Makes the service "spoiling": that of USERS, and a module that does USER=WHAT (see
        spoiling_module.c) when USER logs in. Returns the file that the module uses."""
        module = self.directory / "pam_spoiling.so"
        if not module.exists():
            subprocess.run(["cc", "-std=gnu11", "-shared", "-fPIC", "-pthread", "-o", module,
                            pathlib.Path(__file__).with_name("spoiling_module.c"), "-lpam"],
                           check=True)
        file = self.directory / "spoiled"
        file.unlink(missing_ok=True)
        self.service("spoiling", f"auth required {module} file={file} " + " ".join(deeds),
                     *self._users_of("spoiling"))
        return file

    def asked(self):
        """The users of whom the program of the service "undecided" has been asked."""
        return self._asked.read_text().split() if self._asked.exists() else []

    def _entered_pids(self):
        return self._entered.read_text().split() if self._entered.exists() else []

    def stuck_count(self):
        """How many logins have reached the stuck module so far."""
        return len(self._entered_pids())

    def release(self):
        """Lets go of everybody who is stuck now."""
        stuck = self.stuck_count()
        os.write(self._gate_descriptor, b"\n" * (stuck - self._released))
        self._released = stuck

    def reset(self):
        """Ends whoever is stuck still: also those whose worker was killed, and has left them."""
        for pid in self._entered_pids():
            if str(self.directory) in processes.title(pid):
                os.kill(int(pid), signal.SIGKILL)
        for each in self._entered, self._asked, self.outage:
            each.unlink(missing_ok=True)
        self._released = 0
        try:
            os.read(self._gate_descriptor, 65536)
        except BlockingIOError:
            pass

    def close(self):
        self.reset()
        os.close(self._gate_descriptor)


class SystemUser:
    """A real account for pam_unix, without a home; needs root."""

    def __init__(self):
        self.name = f"postern-{secrets.token_hex(4)}"
        self.password = secrets.token_urlsafe(12)
        subprocess.run(["useradd", "-M", "-s", "/usr/sbin/nologin", self.name], check=True,
                       capture_output=True)
        try:
            self.change(["chpasswd"], input=f"{self.name}:{self.password}\n")
        except BaseException:
            self.remove()
            raise

    def change(self, command, **options):
        subprocess.run(command, check=True, capture_output=True, text=True, **options)

    def expire(self):
        self.change(["chage", "-E", "1", self.name])

    def age(self):
        """The password has to be changed before the next login."""
        self.change(["chage", "-d", "0", self.name])

    def remove_password(self):
        self.change(["passwd", "-d", self.name])

    def lock(self):
        self.change(["usermod", "-L", self.name])

    def remove(self):
        subprocess.run(["userdel", self.name], check=False, capture_output=True)
