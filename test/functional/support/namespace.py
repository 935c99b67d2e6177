"""A mount namespace in which an unpacked package stands where it was built to stand.

Some servers have their paths and users compiled in. In here the package's files are in /usr, its
configuration and users in /etc, and a few directories are writable, while nothing of the machine
changes: whoever is not inside sees none of it. Needs root that may mount.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from support import wait

# The first mount is a trial: nobody outside may see it. Below a chroot, the propagation of the
# mount that it lies in cannot be changed, and may be shared with the machine.
_HOLD = """
mount --make-rprivate / 2>/dev/null || :
mount -t tmpfs none "$1" && echo tried && read -r _ || exit
umount "$1" && shift
while [ $# -gt 0 ]; do
    case $1 in
    /*:*) mount -t overlay -o "lowerdir=$1" none "$2" || exit ;;
    *) mount --rbind "$1" "$2" || exit ;;
    esac
    shift 2
done
echo mounted
read -r _
"""

_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_HOSTS = "127.0.0.1 localhost\n"
#: Nothing answers there, so that a look-up fails at once instead of leaving the machine.
_RESOLVER = "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"


class Namespace:
    """`prefix` is a tree with `usr` in it. `etc` are further files below /etc, as {name: text};
    `users` have a group of their own, and a home below /var/lib, as {name: number}; `writable`
    directories are empty unless `etc` has filled them, and found outside by `path`. With
    `devices` that holds for /dev, too, which has the few that everybody needs."""

    def __init__(self, directory, prefix, etc, users, writable=("/run", "/var/lib", "/var/spool"),
                 devices=False):
        self.directory = pathlib.Path(directory)
        self._writable = writable
        self._devices = self._make_devices() if devices else []
        self._write_etc(etc, users)
        for name in writable:
            self.path(name).mkdir(parents=True, exist_ok=True)
        for name, number in users.items():
            home = self.path(f"/var/lib/{name}")
            home.mkdir()
            os.chown(home, number, number)
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", _HOLD, "sh",
             self._trial(), *self._mounts(prefix)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        try:
            self._enter()
        except BaseException:
            self.close()
            raise

    def path(self, name):
        """Where a file of /etc that was given, or of a writable directory, is outside."""
        return self.directory / "root" / name.lstrip("/")

    def command(self, *words):
        """Words that run a program inside; its pid is that of the process that is started."""
        return ["nsenter", f"--target={self._holder.pid}", "--mount", "--root", "--wd=/",
                *map(str, words)]

    def close(self):
        """The mounts go with the last process inside."""
        self._holder.stdin.close()
        self._holder.wait(wait.PATIENCE)

    def _write_etc(self, etc, users):
        files = {"hosts": _HOSTS, "resolv.conf": _RESOLVER, "mailname": "backend.mail.test\n", **etc}
        for name, text in files.items():
            path = self.path("etc") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for database, line in (("passwd", "{0}:x:{1}:{1}::/var/lib/{0}:/usr/sbin/nologin\n"),
                               ("group", "{0}:x:{1}:\n")):
            shutil.copy(f"/etc/{database}", self.path("etc"))
            with open(self.path(f"etc/{database}"), "a", encoding="ascii") as file:
                file.writelines(line.format(*user) for user in users.items())

    def _make_devices(self):
        """Files to mount them on. Returns pairs of what and where."""
        self.path("/dev").mkdir(parents=True)
        for device in _DEVICES:
            self.path(device).touch()
        return [word for device in _DEVICES for word in (device, self.path(device))] + [
            self.path("/dev"), "/dev"]

    def _trial(self):
        trial = self.directory / "trial"
        trial.mkdir()
        return trial

    def _mounts(self, prefix):
        """Pairs of what and where. The machine's own files stay before those of the package."""
        return [f"/usr:{prefix}/usr", "/usr", f"{self.path('etc')}:/etc", "/etc",
                *(word for name in self._writable for word in (self.path(name), name)),
                *self._devices]

    def _enter(self):
        self._expect("tried")
        if os.path.ismount(self.directory / "trial"):
            subprocess.run(["umount", self.directory / "trial"], check=True)
            pytest.skip("mounts made in a namespace of its own are seen by the whole machine here")
        self._holder.stdin.write("\n")
        self._holder.stdin.flush()
        self._expect("mounted")

    def _expect(self, word):
        if self._holder.stdout.readline() != word + "\n":
            self._holder.wait(wait.PATIENCE)
            pytest.skip(f"no mount namespace here: {self._holder.stderr.read().strip()}")
