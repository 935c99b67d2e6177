"""A mail server as Debian installs it, in a tree and in networks of its own, and Postern beside it.

    tree()       the package's files, installed once and kept
    Site         the tree while it runs: a process tree, a host name, a network with a way outside,
                 where other machines, a name server and the mail server of elsewhere.test are

Nothing is started by systemd here. `systemctl`, which the pages have people type, is a script that
knows start, stop, restart, enable and disable: init scripts do the work, and Postern starts with no
more rights than its unit, with the page's drop-in, leaves it. Needs root that may mount.
"""

import functools
import hashlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile

import pytest

from support import debian, dns, links, package, postern, processes, systemd, wait
from support import backend as backends
from support.client import Client
from support.holder import Holder
from support.syslog import Syslog

ETC = pathlib.Path(__file__).parents[3] / "etc"
SERVER, STRANGER, ELSEWHERE = "203.0.113.25", "203.0.113.9", "203.0.113.77"
USER, PASSWORD = "alice", "wonderland"

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root",
                **postern.SANITIZERS}

# Services must not start while they are installed: the tree has no network of its own then.
_INSTALL = """
mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" none "$4" || exit 77
mount -t proc proc "$4/proc" && hostname mail.example.org || exit 77
printf '#!/bin/sh\\nexit 101\\n' >"$4/usr/sbin/policy-rc.d" || exit
chmod 755 "$4/usr/sbin/policy-rc.d"
printf '%s' "$5" >"$4/tmp/answers"
tree=$4 && shift 5
chroot "$tree" apt-get -q update --error-on=any || exit 78
chroot "$tree" debconf-set-selections /tmp/answers
chroot "$tree" apt-get -q install -y --no-install-recommends "$@" || exit
chroot "$tree" apt-get clean
rm "$tree/usr/sbin/policy-rc.d" "$tree/tmp/answers"
"""

# The first process ignores the end of its children, so that no dead one is left to wait for.
_HOLD = """
mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" none "$4" || exit
mount -t proc proc "$4/proc" && hostname mail.example.org || exit
echo mounted
exec env --ignore-signal=CHLD chroot "$4" cat
"""

_SYSTEMCTL = """#!/bin/sh
action=$1
shift
[ "$action" != daemon-reload ] || exit 0
for unit; do
    case $action:$unit in
    *:--now) continue ;;
    enable:* | start:*) order=start ;;
    disable:* | stop:*) order=stop ;;
    restart:opensmtpd)  # its init script starts it while the old one still has the ports
        /etc/init.d/opensmtpd stop
        while grep -qsx smtpd /proc/[0-9]*/comm; do sleep 0.1; done
        order=start ;;
    *) order=$action ;;
    esac
    "/etc/init.d/${unit%.service}" $order || exit
done
"""

# As with the unit, nothing but a few directories can be written to.
_INIT = """#!/bin/sh
log=/var/log/postern.log
stop() {
    [ -f /run/postern.pid ] || return 0
    pid=$(cat /run/postern.pid)
    kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    rm /run/postern.pid
}
start() {
    mkdir -p /run/postern /var/log/postern
    postern -n || exit
    : >$log
    setsid unshare --mount sh -c '
        for place in /dev /proc /run /tmp /var/log WRITABLE; do
            mount --bind $place $place || exit
        done
        mount -o remount,bind,ro / && echo $$ >/run/postern.pid && exec RIGHTS postern
    ' >>$log 2>&1 </dev/null &
    while [ -d /proc/$! ] && ! grep -q "serving: " $log; do sleep 0.1; done
    grep "serving: " $log || { cat $log; exit 1; }
}
case $1 in
stop) stop ;;
start) start ;;
restart) stop; start ;;
esac
"""


#: Every Debian has these, but for the smallest.
_IMPORTANT = ("netbase", "iproute2")


@functools.cache
def tree(packages, answers=""):
    """What apt changes in the smallest Debian when it installs them, after these answers to
    debconf: a directory that is to be laid over it. Skips if Debian's archive is out of reach."""
    packages = (*packages, *_IMPORTANT)
    try:
        base = debian.base()
    except AssertionError as failure:
        pytest.skip(f"no Debian to start from: {str(failure)[-300:]}")
    name = package.tree_name(packages)
    digest = hashlib.sha256((base.name + answers + _INSTALL).encode()).hexdigest()[:8]
    kept = package.CACHE / f"stock-{name}-{digest}"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=package.CACHE) as scratch:
            _install(base, pathlib.Path(scratch), packages, answers)
            os.rename(f"{scratch}/upper", kept)
    return kept


def _libraries(program):
    """Paths of the libraries that it is linked with."""
    shown = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", shown)


def _directories(place):
    made = [place / name for name in ("upper", "work", "tree")]
    for each in made:
        each.mkdir(parents=True)
        each.chmod(0o755)
    return made


def _install(base, scratch, packages, answers):
    upper, work, place = _directories(scratch)
    made = subprocess.run(["unshare", "--mount", "--uts", "sh", "-c", _INSTALL, "sh", base, upper,
                           work, place, answers, *packages], capture_output=True, text=True,
                          check=False, env=_ENVIRONMENT, stdin=subprocess.DEVNULL)
    if made.returncode == 77:
        pytest.skip(f"no tree of its own can be mounted here: {made.stderr.strip()}")
    if made.returncode == 78:
        errors = re.findall("^E: .*", made.stderr, re.MULTILINE)
        pytest.skip(f"Debian's archive is out of reach: {' '.join(errors)[:300]}")
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]


class _Exchanger(backends.Backend):
    """The mail server of elsewhere.test."""

    def _listen(self, host):
        return socket.create_server((host, 25), backlog=50)


class Site:
    """The tree, running; root is where its files are seen from here."""

    def __init__(self, directory, upper):
        directory = pathlib.Path(directory)
        self.here, self.outside = links.Namespace(), links.Namespace()
        self.outside.tie("cable", [f"{STRANGER}/24", f"{ELSEWHERE}/24"],
                         self.here, "cable", [f"{SERVER}/24"])
        new, work, place = _directories(directory)
        self._holder = Holder(
            *self.here.command, "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork",
            "--kill-child", "sh", "-c", _HOLD, "sh", f"{upper}:{debian.base()}", new, work, place)
        self.root = wait.until(lambda: self._root_of(self._holder.first), "the tree")
        with self.outside.inside():
            self.elsewhere = _Exchanger(host=ELSEWHERE)
            self._names = dns.NameServer((ELSEWHERE, 53))
        self._names.addresses = {
            "mail.example.org": SERVER, "mx.elsewhere.test": ELSEWHERE,
            **dict.fromkeys(("example.com", "example.net"), ELSEWHERE)}  # whom the doctor names
        self._names.names = {SERVER: "mail.example.org"}
        self._names.exchangers = {"elsewhere.test": "mx.elsewhere.test",
                                  "mail.example.org": "mail.example.org"}
        self.elsewhere.extensions = ("SIZE 50000000", "8BITMIME")
        self._write()
        self.syslog = Syslog(self.root / "dev/log")

    @staticmethod
    def _root_of(pid):
        root = pathlib.Path(f"/proc/{pid}/root")
        return root if processes.title(pid) == "cat" else None

    def _write(self):
        self.write("/etc/hosts", f"127.0.0.1 localhost\n{SERVER} mail.example.org mail\n")
        self.write("/etc/resolv.conf", f"nameserver {ELSEWHERE}\n")
        self.write("/etc/hostname", "mail.example.org\n")
        self.write("/usr/local/sbin/systemctl", _SYSTEMCTL, 0o755)
        self.run("useradd", "--create-home", USER)
        self.run("chpasswd", input=f"{USER}:{PASSWORD}\n")

    def write(self, path, text, mode=0o644):
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def run(self, *words, check=True, user=None, **options):
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        result = subprocess.run(
            ["nsenter", f"--target={self._holder.first}", "--mount", "--uts", "--ipc", "--net", "--pid",
             "--root", "--wd", *as_user, *words],
            capture_output=True, text=True, check=False, env=_ENVIRONMENT,
            timeout=wait.PATIENCE * 4,
            **({} if "input" in options else {"stdin": subprocess.DEVNULL}), **options)
        assert not check or result.returncode == 0, \
            f"{words}:\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
        return result

    def _copy(self, path, inside):
        """Nothing that the tree has of its own is replaced."""
        place = self.root / inside.lstrip("/")
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)

    def install_postern(self):
        """As the package does it, but with the program that is tested."""
        for program in (postern.BINARY, f"{os.path.dirname(postern.BINARY)}/posternctl"):
            self._copy(program, f"/usr/sbin/{os.path.basename(program)}")
            for library in _libraries(program):
                self._copy(library, library)
        self.run("ldconfig")
        self.run("useradd", "--system", "--user-group", "--no-create-home", "--home-dir",
                 "/nonexistent", "postern")
        self.run("ln", "-s", "/etc/postern", "/usr/local/etc/postern")
        self.write("/etc/pam.d/postern", (ETC / "postern.pam").read_text())
        self.write("/etc/postern/postern.conf", (ETC / "postern.conf").read_text())
        shutil.copytree(ETC / "examples", self.root / "usr/share/doc/postern/examples")
        self.run("mkdir", "-p", "/usr/local/share/doc", "/etc/apparmor.d/local")
        self.run("ln", "-s", "/usr/share/doc/postern", "/usr/local/share/doc/postern")
        self.write("/usr/local/sbin/apparmor_parser", "#!/bin/sh\n", 0o755)

    def _confine(self):
        """Postern's rights from now on: what the unit leaves it, with the drop-ins there are."""
        found = (self.root / "etc/systemd/system/postern.service.d").glob("*.conf")
        drop_ins = [path.read_text() for path in found]
        writable = systemd.values("\n".join(drop_ins), "ReadWritePaths")
        self.write("/etc/init.d/postern", _INIT.replace("WRITABLE", " ".join(writable)).replace(
            "RIGHTS", " ".join([*systemd.rights(*drop_ins), "--groups=postern"])), 0o755)

    def type(self, command, **options):
        """What a page shows, as root's shell gets it."""
        self._confine()
        return self.run("sh", "-c", command, **options)

    def connect(self, port, source=STRANGER, **options):
        """A client, outside or on the same machine."""
        with (self.outside if source == STRANGER else self.here).inside():
            return Client((SERVER if source == STRANGER else source, port), source=None, **options)

    def arrived(self, subject):
        """The message, as elsewhere.test has it: once."""
        def find():
            return [message for each in list(self.elsewhere.connections)
                    for message in each.messages if subject.encode() in message]
        (found,) = self.elsewhere.wait(
            find, f"nothing relayed with the subject {subject!r}:\n{self.syslog.text()[-3000:]}")
        return found

    def close(self):
        self.syslog.close()
        self._holder.close()
        self.elsewhere.close()
        self._names.close()
        self.outside.close()
        self.here.close()
