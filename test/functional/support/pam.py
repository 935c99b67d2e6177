"""PAM services in a directory of their own, with Debian's stock modules."""

import os
import pathlib
import secrets
import subprocess

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

# Opening a fifo waits for somebody who writes to it.
_STUCK = """#!/bin/sh
echo $$ >>{entered}
read -r line <{gate}
"""


class Pam:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.chmod(0o755)
        self._database = self.directory / "passdb"
        self._gate = self.directory / "gate"
        self._entered = self.directory / "entered"
        self._write_services()

    def _write_services(self):
        self._database.write_text("")
        os.mkfifo(self._gate, 0o666)
        everywhere = ("users", "slow", "recorded", "stuck", "stuck_account", "gated", "renamed")
        with open(self._database, "a", encoding="utf-8") as database:
            for service in everywhere:
                for user, password in USERS.items():
                    database.write(f"{user}:{password}:{service}\n")
            database.write(f"{LOCKED[0]}:{LOCKED[1]}:elsewhere\n")
        matrix = f"{MATRIX} passdb={self._database}"
        check = (f"auth required {matrix}", f"account required {matrix}")
        stuck = f"pam_exec.so quiet {self._script('stuck', _STUCK.format(entered=self._entered, gate=self._gate))}"
        self.service("users", *check)
        self.service("permit", "auth required pam_permit.so", "account required pam_permit.so")
        self.service("deny", "auth required pam_deny.so", "account required pam_deny.so")
        self.service("slow", "auth optional pam_faildelay.so delay=3000000", *check)
        self.service("slow_deny", "auth optional pam_faildelay.so delay=2000000",
                     "auth required pam_deny.so", "account required pam_permit.so")
        self.service("stuck", f"auth required {stuck}", *check)
        self.service("stuck_account", *check, f"account required {stuck}")
        # Only bob gets stuck.
        self.service("gated", "auth [success=ignore default=1] pam_succeed_if.so quiet user = bob",
                     f"auth required {stuck}", *check)
        self.service("unix", "auth required pam_unix.so", "account required pam_unix.so")
        self.service("broken", "auth required no_such_module.so",
                     "account required pam_permit.so")
        self.service("no_account", "auth required pam_permit.so", "account required pam_deny.so")
        self.service("chatty", "auth required "
                     f"{os.path.dirname(MATRIX)}/pam_chatty.so info num_lines=3", *check)

    def service(self, name, *lines):
        (self.directory / name).write_text("".join(line + "\n" for line in lines))
        return name

    def _script(self, name, text):
        path = self.directory / f"{name}.sh"
        path.write_text(text)
        path.chmod(0o755)
        return path

    def recorded(self, directory):
        """Makes the service "recorded", which notes PAM's items; returns the file."""
        path = pathlib.Path(directory, "recorded")
        script = self._script("record", _RECORD.format(path=path))
        matrix = f"{MATRIX} passdb={self._database}"
        self.service("recorded", f"auth required pam_exec.so quiet {script}",
                     f"auth required {matrix}", f"account required pam_exec.so quiet {script}",
                     f"account required {matrix}")
        return path

    def stuck_count(self):
        """How many logins have reached the stuck module so far."""
        return len(self._entered.read_text().splitlines()) if self._entered.exists() else 0

    def release(self):
        """Lets go of everybody who is stuck now, also those whose worker was killed."""
        try:
            gate = os.open(self._gate, os.O_RDWR | os.O_NONBLOCK)
            os.write(gate, b"\n" * 200)
        except OSError:
            return
        for pid in self._entered.read_text().split() if self._entered.exists() else ():
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                pass
        os.close(gate)


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

    def lock(self):
        self.change(["usermod", "-L", self.name])

    def remove(self):
        subprocess.run(["userdel", self.name], check=False, capture_output=True)
