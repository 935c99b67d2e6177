"""Postfix as Debian's package sets it up for an "Internet Site", in a tree, a network and a process
tree of its own, where the lines of a page are typed as they stand there.

The tree is made once, with the archive's help, and kept. Needs root.
"""

import pathlib
import shutil
import subprocess
import tempfile

from support import debian, links, package, wait
from support.client import Client
from support.holder import Holder
from support.syslog import Syslog

#: The machine's own address, and one of somebody who is not known there.
SERVER, STRANGER = "203.0.113.25", "203.0.113.9"
SERVER6, STRANGER6 = "2001:db8::25", "2001:db8::9"

#: What the page has people install, fetched while the archive can be reached.
_LATER = "libsasl2-modules"

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                "DEBIAN_FRONTEND": "noninteractive"}
_ANSWERS = """\
postfix postfix/main_mailer_type select Internet Site
postfix postfix/mailname string mail.example.org
"""
# Postfix learns the machine's addresses, and the package the protocols, from /proc.
_INSIDE = 'mount -t proc proc "$0/proc" && hostname mail.example.org && exec chroot "$0" "$@"'
# The first process ignores the end of its children, so that no dead one is left to wait for.
_HOLD = """
mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" none tree && mount -t proc proc tree/proc &&
    trap '' CHLD && echo mounted && exec cat
"""


def _chrooted(root, *words, **options):
    result = subprocess.run(["unshare", "--mount", "--uts", "sh", "-c", _INSIDE, root, *words],
                            capture_output=True, text=True, check=False, env=_ENVIRONMENT,
                            **{"stdin": subprocess.DEVNULL, **options})
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def _fill(root):
    (root / "etc/dpkg/dpkg.cfg.d/quick").write_text("force-unsafe-io\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{SERVER} mail.example.org\n")
    _chrooted(root, "apt-get", "-qq", "update")
    _chrooted(root, "debconf-set-selections", input=_ANSWERS, stdin=None)
    _chrooted(root, "apt-get", "-qq", "-y", "install", "--no-install-recommends", "postfix")
    _chrooted(root, "apt-get", "-qq", "-y", "install", "--download-only", _LATER)
    _chrooted(root, "useradd", "--create-home", "bob")
    # What the package's own script does at each start, for Postfix's chroot.
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    (root / "var/spool/postfix/etc").mkdir(exist_ok=True)
    for name in ("resolv.conf", "hosts", "services"):
        if (root / "etc" / name).exists():
            shutil.copy(root / "etc" / name, root / "var/spool/postfix/etc")


def _tree():
    base = debian.base()
    kept = package.CACHE / f"{base.name}-{package.unpack('postfix').name}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=package.CACHE) as scratch:
            made = pathlib.Path(scratch, "tree")
            subprocess.run(["cp", "-a", "--reflink=auto", base, made], check=True)
            _fill(made)
            try:
                made.rename(kept)
            except OSError:
                if not kept.is_dir():  # somebody else was as quick
                    raise
    return kept


class StockPostfix:
    """Running. `root` is its tree as it is seen from here, `here` its network, `outside` the one that
    strangers are in."""

    def __init__(self, directory):
        for name in ("upper", "work", "tree"):
            pathlib.Path(directory, name).mkdir(parents=True)
        self.here, self.outside = links.Namespace(), links.Namespace()
        self.outside.tie("cable", [f"{STRANGER}/24", f"{STRANGER6}/64"],
                         self.here, "cable", [f"{SERVER}/24", f"{SERVER6}/64"])
        self._holder = Holder(*self.here.command, "unshare", "--mount", "--pid", "--fork",
                              "--kill-child", "sh", "-c", _HOLD, "sh", _tree(), cwd=directory)
        self._place = f"{directory}/tree"
        self.root = pathlib.Path(f"/proc/{self._holder.first}/root{self._place}")
        self.syslog = Syslog(self.root / "dev/log")
        self._stock = self.files()
        self.run("postfix", "start")

    def run(self, *words, check=True, **options):
        result = subprocess.run(
            ["nsenter", f"--target={self._holder.first}", "--net", "--pid", "--mount",
             "chroot", self._place, *words],
            capture_output=True, text=True, check=False, env=_ENVIRONMENT,
            timeout=wait.PATIENCE * 4, **{"stdin": subprocess.DEVNULL, **options})
        assert not check or result.returncode == 0, \
            f"{words}:\n{result.stdout[-3000:]}{result.stderr[-3000:]}{self.syslog.text()[-3000:]}"
        return result

    def type(self, lines, **options):
        """As root's shell gets them; the first that fails is the last."""
        return self.run("sh", "-ec", lines, **options)

    def files(self):
        return {name: (self.root / "etc/postfix" / name).read_bytes()
                for name in ("main.cf", "master.cf")}

    def restore(self, main=None):
        """The files as the package made them, with these settings besides, and a start with them."""
        for name, content in self._stock.items():
            (self.root / "etc/postfix" / name).write_bytes(content)
        if main:
            self.run("postconf", "-e", *(f"{key}={value}" for key, value in main.items()))
        self.restart()

    def restart(self):
        """After a reload, a process that has read the former files may still take a client."""
        self.run("postfix", "stop", check=False)
        self.run("postfix", "start")

    def has_sasl(self):
        return (self.root / "usr/share/doc" / _LATER).exists()

    def remove_sasl(self):
        """The package, if it is there, which its lines then install again."""
        if self.has_sasl():
            self.run("dpkg", "--purge", _LATER)

    def connect(self, port, source=STRANGER):
        """A client behind the greeting: a stranger, or with a source on loopback a local program."""
        local = source.startswith("127.")
        with (self.here if local else self.outside).inside():
            made = Client(("127.0.0.1" if local else SERVER6 if ":" in source else SERVER, port),
                          source=source if local else None)
        made.greeting()
        return made

    def mailbox(self):
        """Bob's."""
        path = self.root / "var/mail/bob"
        return path.read_text() if path.exists() else ""

    def wait_for_mail(self, subject):
        wait.until(lambda: f"Subject: {subject}\n" in self.mailbox(),
                   f"mail with the subject {subject!r}")

    def close(self):
        self.syslog.close()
        self._holder.close()
        self.outside.close()
        self.here.close()
