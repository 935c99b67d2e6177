"""A small Debian of its own in a directory, for what is installed there by apt."""

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess

from support import package

#: Files that apt and dpkg change by themselves.
_OWN = ("var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "etc/ld.so.cache", "var/lib/systemd",
        "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
        "root", "tmp", "run", "proc", "sys", "dev", "usr/share/man/index.db")


def _archive():
    """(address, suite) of the archive that this system uses."""
    shown = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)",
                            "Created-By: Packages"], capture_output=True, text=True, check=True)
    for line in shown.stdout.splitlines():
        address, suite = line.split()
        if "security" not in address and suite.isalpha():
            return address, suite
    raise AssertionError(f"no archive of Debian's:\n{shown.stdout}")


@functools.cache
def base():
    """The smallest system, made once and kept."""
    address, suite = _archive()
    digest = hashlib.sha256(f"{address} {suite}".encode()).hexdigest()[:12]
    return _kept(f"debian-{suite}-{digest}", lambda scratch: _bootstrap(scratch, suite, address))


def prepared(name, version, prepare):
    """A smallest system that prepare(Debian) has changed; made once and kept, by its name and a
    text that differs when the changes do."""
    digest = hashlib.sha256(f"{base()} {version}".encode()).hexdigest()[:12]

    def make(scratch):
        tree = Debian(scratch)
        try:
            prepare(tree)
            tree.run("apt-get", "clean")
        finally:
            tree.close()
    return _kept(f"{name}-{digest}", make)


def _kept(name, make):
    kept = package.CACHE / name
    if not kept.exists():
        package.CACHE.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        make(scratch)
        scratch.rename(kept)
    return kept


def _bootstrap(scratch, suite, address):
    made = subprocess.run(["debootstrap", "--variant=minbase", suite, scratch, address],
                          capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr
    _take_over_settings_of_apt(scratch)


def _take_over_settings_of_apt(tree):
    for name in ("etc/apt/apt.conf.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"):
        shutil.copytree(f"/{name}", tree / name, dirs_exist_ok=True)
    for name in ("etc/apt/sources.list", "etc/resolv.conf"):
        if pathlib.Path("/", name).exists():
            shutil.copy(f"/{name}", tree / name)


class Debian:
    """A fresh copy of the smallest system, with a /proc until close()."""

    def __init__(self, directory, of=None):
        """`of`: another tree than the smallest system."""
        self.root = pathlib.Path(directory)
        subprocess.run(["cp", "-a", "--reflink=auto", of or base(), self.root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", self.root / "proc"], check=True)

    def close(self):
        subprocess.run(["umount", "--lazy", self.root / "proc"], check=True)

    def command(self, *words):
        """What runs these words inside."""
        return ["chroot", self.root, *words]

    def run(self, *words, check=True, **options):
        result = subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                                stdin=None if "input" in options else subprocess.DEVNULL,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
                                     "DEBIAN_FRONTEND": "noninteractive"}, **options)
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result

    def install(self, file):
        """By apt, with what it depends on; returns what was said."""
        shutil.copy(file, self.root / "tmp")
        result = self.run("apt-get", "install", "-y", "--no-install-recommends",
                          f"/tmp/{pathlib.Path(file).name}")
        return result.stdout + result.stderr

    def files(self):
        """Paths of all that is there, but for what apt and dpkg keep for themselves."""
        found = set()
        for directory, below, files in os.walk(self.root):
            inside = os.path.relpath(directory, self.root).removeprefix(".").lstrip("/")
            names = [os.path.join(inside, name) for name in below + files]
            found.update(name for name in names if not name.startswith(_OWN))
            below[:] = [name for name in below
                        if not os.path.join(inside, name).startswith(_OWN)]
        return found
