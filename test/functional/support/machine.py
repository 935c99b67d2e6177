"""A virtual machine with Debian's kernel, for what the kernel that runs the tests may not have.

Tests with the mark `machine` run in one, all of them in one that is booted for the first; what
came of each is reported outside as if it had run there. Nothing of the machine outlasts them, and
it has no network but its loopback, with packets as small as Ethernet's. It is emulated: nested
virtual machines are not to be had everywhere.
"""

import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import xml.etree.ElementTree

import pytest

from support import manual, package, pam, postern
from support.initramfs import Initramfs

#: Seconds for all of it.
DEADLINE = 400

TESTS = pathlib.Path(__file__).parents[1]
EMULATOR = "qemu-system-x86_64"
_INSIDE = "POSTERN_TEST_MACHINE"
_LIBRARIES = "/usr/lib/x86_64-linux-gnu"

#: Parts of the kernel package that are there to be loaded, by modprobe or by the kernel itself.
_MODULES = ("net/tls", "crypto", "lib/crypto", "arch/x86/crypto")
_PYTHON_PACKAGES = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "attr", "attrs", "py")
_PYTHON_UNUSED = ("test", "config-3*", "lib2to3", "pydoc_data", "distutils", "idlelib",
                  "ensurepip", "tkinter", "turtledemo")

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8 {inside}=1
export POSTERN_BINARY={binary} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo mtu 1500 up
depmod
modprobe tls
cd {tests}
python3 -m pytest -q --junitxml=/results.xml {chosen}
stty -F /dev/ttyS1 raw
cat /results.xml >/dev/ttyS1
poweroff -f
"""

_ARGUMENTS = ("-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
              "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none")
_KERNEL_ARGUMENTS = "console=ttyS0 quiet mitigations=off panic=-1"


def is_inside():
    return _INSIDE in os.environ


def take_over(items):
    """What is marked runs in a machine, and outside of it only has its result."""
    if is_inside():
        return
    chosen = [item for item in items if item.get_closest_marker("machine")]
    run = _Run(chosen)
    for item in chosen:
        item.setup = lambda: None
        item.runtest = lambda item=item: run.report(item)


class _Run:
    """Runs the tests when the first result is asked for."""

    def __init__(self, items):
        self._names = [f"{item.path.name}::{item.name}" for item in items]
        self._console = self._results = self._fault = None

    def report(self, item):
        if self._results is None:
            self._results = {}
            self._start()
        if self._fault:
            raise self._fault
        case = self._results.get((item.path.stem, item.name))
        if case is None:
            pytest.fail(f"came to no end in the machine:\n{self._console[-8000:]}", pytrace=False)
        for outcome in case:
            text = f"{outcome.get('message')}\n{outcome.text}"
            if outcome.tag == "skipped":
                pytest.skip(text)
            if outcome.tag in ("failure", "error"):
                pytest.fail(f"in the machine:\n{text}", pytrace=False)

    def _start(self):
        """Why there is no machine is the result of each test."""
        try:
            self._console, self._results = _boot(self._names)
        except (Exception, pytest.skip.Exception) as fault:
            self._fault = fault


def _boot(names):
    """What was said on the console, and {(module, name of the test): its element of JUnit's}."""
    if platform.machine() != "x86_64" or not shutil.which(EMULATOR):
        pytest.skip(f"needs {EMULATOR}")
    kernel = _kernel()
    with tempfile.TemporaryDirectory(prefix="postern-machine-") as scratch:
        results = pathlib.Path(scratch, "results")
        image = pathlib.Path(scratch, "initramfs")
        _initramfs(kernel, names).save(image)
        try:
            ended = subprocess.run(
                [EMULATOR, *_ARGUMENTS, "-kernel", next(kernel.glob("boot/vmlinuz-*")),
                 "-initrd", image, "-append", _KERNEL_ARGUMENTS,
                 "-serial", "stdio", "-serial", f"file:{results}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=DEADLINE, check=False)
            console = ended.stdout
        except subprocess.TimeoutExpired as late:
            console = late.stdout or b""
        return console.decode("utf-8", "replace"), _read_results(results)


def _read_results(path):
    try:
        cases = xml.etree.ElementTree.parse(path).iter("testcase")
    except (OSError, xml.etree.ElementTree.ParseError):
        return {}
    return {(case.get("classname"), case.get("name")): case for case in cases}


def _kernel():
    """The tree of the package that Debian's meta package stands for."""
    shown = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"],
                           capture_output=True, text=True, check=False)
    found = re.search(r"Depends: (linux-image-\S+)", shown.stdout)
    assert found, f"no kernel package of Debian's: {shown.stdout}{shown.stderr}"
    return package.unpack(found[1])


def _initramfs(kernel, names):
    made = Initramfs()
    for name in ("bin", "sbin", "lib", "lib64"):
        made.link(name, f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "root", "var/tmp"):
        made.directory(name)
    made.directory("tmp", 0o1777)
    _add_system(made)
    _add_python(made)
    _add_modules(made, kernel)
    made.copy(*TESTS.glob("*.py"), *TESTS.glob("support/*.py"), TESTS / "pytest.ini",
              *manual.ETC.glob("*.[1-9].in"))
    made.write("init", _INIT.format(inside=_INSIDE, binary=shlex.quote(postern.BINARY),
                                    tests=shlex.quote(str(TESTS)), chosen=shlex.join(names)), 0o755)
    return made


def _add_system(made):
    made.copy_programs("/usr/bin/busybox", "/usr/bin/openssl", postern.BINARY)
    made.copy_programs(pam.MATRIX, f"{_LIBRARIES}/security/pam_permit.so")
    made.copy(f"{_LIBRARIES}/libgcc_s.so.1", "/etc/passwd", "/etc/group", "/etc/ssl/openssl.cnf")
    made.link("usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf")
    made.write("etc/hosts", "127.0.0.1 localhost\n")
    for name in ("bin/sh", "sbin/modprobe"):
        made.link(f"usr/{name}", "/usr/bin/busybox")


def _add_python(made):
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    made.copy_programs("/usr/bin/python3", *library.glob("lib-dynload/*.so"))
    unused = [found.name for pattern in _PYTHON_UNUSED for found in library.glob(pattern)]
    made.copy_tree(library, leave_out=unused)
    for name in _PYTHON_PACKAGES:
        made.copy_tree(f"/usr/lib/python3/dist-packages/{name}")


def _add_modules(made, kernel):
    (modules,) = kernel.glob("lib/modules/*")
    for part in _MODULES:
        for path in (modules / "kernel" / part).rglob("*.ko*"):
            inside = f"usr/lib/modules/{path.relative_to(modules.parent)}"
            made.copy_as(inside, path)
    for path in modules.glob("modules.*"):
        made.copy_as(f"usr/lib/modules/{path.relative_to(modules.parent)}", path)
