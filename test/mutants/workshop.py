"""Builds Postern with one file changed, and runs tests of it.

A copy of the sources is built twice: without sanitizers or optimization, where a change is a
matter of a second, and as test/run builds it, with sanitizers, for what that did not notice.
Ninja builds only the programs that are asked for. Tests run with a bound on their processor time
and memory and, as root, in namespaces of their own, which end all that they started.
"""

import hashlib
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("POSTERN_TEST_BUILD", ROOT / "build-test")).resolve() / "changes"
SOURCE = BUILD / "source"
#: What a build needs of the tree.
_PARTS = ("meson.build", "meson_options.txt", "proxy", "auth", "tls", "etc", "test/meson.build",
          "test/unit")
PLAIN, SANITIZED = BUILD / "plain", BUILD / "sanitized"
_OPTIONS = {
    PLAIN: ("-Dbuildtype=plain", "-Doptimization=0"),
    SANITIZED: ("-Dbuildtype=debug", "-Db_sanitize=address,undefined",
                "-Dc_link_args=-Wl,--push-state,--no-as-needed,-lcrypt,--pop-state"),
}
_SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:halt_on_error=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1",
    "MALLOC_PERTURB_": "165",
}
#: Seconds of processor time that one unit test may take; they take at most five.
_UNIT_LIMIT_S = 20
_FUNCTIONAL_LIMIT_S = 900
_FILE_LIMIT = 1 << 30
_MODEL_S = 20
#: What a test leaves running ends with the shell.
_CELL = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
         '"$@"; exit $?', "sh")
_HOUSE = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
          "sh", "-c", 'ip link set lo up; "$@"; exit $?', "sh")


class Broken(Exception):
    """Something fails that has no fault put in."""


def _copy(relative):
    """Keeps the time of a file that is the same, so that little is compiled."""
    source, target = ROOT / relative, SOURCE / relative
    if source.is_dir():
        for each in sorted(source.iterdir()):
            _copy(each.relative_to(ROOT))
        return
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _run(*command, **options):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False, text=True, errors="replace",
                          **options)


def build(tree, *targets):
    """What the compiler says if it does not build; None if it does."""
    done = _run("ninja", "-C", tree, *targets)
    return done.stdout[-4000:] if done.returncode else None


def prepare():
    for each in _PARTS:
        _copy(each)
    for tree, options in _OPTIONS.items():
        if not (tree / "build.ninja").exists():
            done = _run("meson", "setup", tree, SOURCE, "-Dtests=true", *options)
            if done.returncode:
                raise Broken(done.stdout[-4000:])
        fault = build(tree)
        if fault:
            raise Broken(fault)


def write(file, text):
    (SOURCE / file).write_text(text, "utf-8")


def restore(file):
    _copy(file)


def _bound(processor_s, tree):
    def inside():
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_LIMIT, _FILE_LIMIT))
        if processor_s:
            resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s))
        if tree == PLAIN:   # the sanitizers reserve terabytes
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    return inside



def unit_passes(tree, name):
    try:
        return _run(*_cell(_CELL), tree / "test/unit" / f"test_{name}", cwd=tree,
                    timeout=_UNIT_LIMIT_S * 10, env={**os.environ, **_SANITIZERS},
                    preexec_fn=_bound(_UNIT_LIMIT_S, tree)).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _cell(command):
    return command if os.geteuid() == 0 else ()


def _pytest(*arguments):
    """(status, the test that failed, what was said)."""
    environment = {**os.environ, "POSTERN_BINARY": str(SANITIZED / "postern"),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = _run(*_cell(_HOUSE), sys.executable, "-m", "pytest", "-q", "-x", "-rfE", *arguments,
                    cwd=ROOT / "test/functional", env=environment, timeout=_FUNCTIONAL_LIMIT_S,
                    preexec_fn=_bound(0, SANITIZED))
    except subprocess.TimeoutExpired:
        return 1, None, "took too long"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+\.py::.*?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return done.returncode, failed and failed[1], done.stdout[-6000:]


def functional_failure(module):
    """The test of a module that fails, twice in a row, as chance does not; None if all pass."""
    if module == "model":
        return _model_failure() and _model_failure()
    status, test, said = _pytest(f"{module}.py")
    if status == 0:
        return None
    if status != 1:
        raise Broken(said)
    if test is None:
        return said.strip().splitlines()[-1]
    status, again, _ = _pytest(test)
    if again or status == 1:
        return test
    _, test, _ = _pytest(f"{module}.py", "--deselect", test)
    return test


def _model_failure():
    environment = {**os.environ, "POSTERN_BINARY": str(SANITIZED / "postern"),
                   "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = _run(*_cell(_HOUSE), sys.executable, ROOT / "test/model/run", "--stop", "--seconds",
                    _MODEL_S, "--seed", 1, env=environment, timeout=_FUNCTIONAL_LIMIT_S,
                    preexec_fn=_bound(0, SANITIZED))
    except subprocess.TimeoutExpired:
        return "model: took too long"
    found = re.search(r"^FINDING (.*)", done.stdout, re.MULTILINE)
    if not found and done.returncode == 0:
        return None
    return "model: " + (found[1] if found else done.stdout.strip().splitlines()[-1])[:150]


def digest(*paths):
    """Of files: what a result holds for."""
    made = hashlib.sha256()
    for path in paths:
        made.update(path.read_bytes())
    return made.hexdigest()[:16]


def test_file(test):
    """Of a unit test, as it was built, or of a functional one."""
    if test == "model":
        return ROOT / "test/model/judge.py"
    if test.startswith("test_"):
        return ROOT / "test/functional" / f"{test}.py"
    return SOURCE / "test/unit" / f"test_{test}.c"
