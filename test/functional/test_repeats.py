"""test/run itself: what it makes of tests that fail once, always, or after their end."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from support import wait

ROOT = pathlib.Path(__file__).parents[2]

#: A project with nothing to build but the options that test/run sets.
_PROJECT = {
    "meson.build": "project('tried', 'c')\n",
    "meson_options.txt": "option('tests', type: 'boolean')\n",
    "test/functional/pytest.ini": "[pytest]\naddopts = -p no:cacheprovider\n",
}
_UNSTEADY = """
import pathlib
import pytest

def is_first(name):
    mark = pathlib.Path(__file__).with_name(name)
    if mark.exists():
        return False
    mark.touch()
    return True

def test_steady(): pass

def test_first_time():
    print("said by the first")
    assert not is_first("first_time")

@pytest.fixture
def late():
    yield
    assert not is_first("late")

def test_first_end(late): pass

@pytest.fixture
def early():
    assert not is_first("early")

@pytest.mark.parametrize("word", ["a b[::]"])
def test_first_begin(early, word): pass

def test_left_out(): pytest.skip("here")
"""
_BROKEN = """
def test_always(): assert False, "broken for good"

@pytest.fixture
def broken():
    yield
    assert False, "no end"

def test_broken_end(broken): pass

def test_always_and_no_end(broken): assert False
"""


@pytest.fixture
def run(scratch):
    """run(source, arguments…) -> (exit status, lines) of a test/run that has these tests only."""
    def started(source, *arguments):
        files = {**_PROJECT, "test/functional/test_tried.py": source}
        for name, text in files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in ("test/run", "test/repeat.py"):
            shutil.copy(ROOT / name, scratch / name)
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("POSTERN_TEST_BUILD", "PYTEST_CURRENT_TEST")}
        ended = subprocess.run(["sh", scratch / "test/run", *arguments], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               timeout=wait.PATIENCE * 6, check=False)
        return ended.returncode, ended.stdout.splitlines()
    return started


def test_unsteady_tests_are_repeated_and_listed(run):
    status, said = run(_UNSTEADY, "functional")
    flaky = ["flaky: test_tried.py::test_first_time", "flaky: test_tried.py::test_first_end",
             "flaky: test_tried.py::test_first_begin[a b[::]]"]
    assert said[-6:] == [*flaky, "3 flaky", "1 skipped", "5 passed, 0 failed"]
    assert status == 0
    repeated = said[next(n for n, line in enumerate(said) if "is repeated once, alone" in line):]
    first = repeated[:repeated.index(f"{flaky[0]} (above: the log of its failure)")]
    assert "said by the first" in first and any("assert not is_first" in line for line in first)


def test_broken_tests_fail_once_each(run):
    status, said = run(_UNSTEADY + _BROKEN, "functional", "-k", "always or broken or steady")
    assert said[-1] == "2 passed, 3 failed"   # the build is one of the two
    assert status == 1
    assert [line for line in said if line.startswith("failed again: ")] == [
        f"failed again: test_tried.py::{name}"
        for name in ("test_always", "test_broken_end", "test_always_and_no_end")]
    assert not any(line.startswith("flaky: ") for line in said)


def test_tests_that_cannot_be_read_are_a_failure(run):
    status, said = run("import nothing_of_that_name\n", "functional")
    assert (status, said[-1]) == (1, "1 passed, 1 failed")


@pytest.mark.parametrize("end", ["os._exit(0)", "os.abort()"])
def test_end_of_pytest_is_a_failure_beside_that_of_the_test(run, end):
    status, said = run(f"import os\ndef test_a(): pass\ndef test_ends_pytest(): {end}\n"
                       "def test_b(): pass\n", "functional")
    assert (status, said[-1]) == (1, "2 passed, 2 failed")
    assert "failed again: test_tried.py::test_ends_pytest" in said


def test_more_that_fail_again_than_chance_explains_are_not_all_repeated(run):
    many = "import pytest\n@pytest.mark.parametrize('n', range(12))\ndef test_n(n): assert False\n"
    status, said = run(many, "functional")
    assert (status, said[-1]) == (1, "1 passed, 12 failed")
    assert len([line for line in said if line.startswith("failed again: ")]) == 10


def test_unsteady_tests_are_found_by_running_all_often(run):
    status, said = run(_UNSTEADY + _BROKEN, "flaky", "3", "-k", "time or end or steady")
    assert status == 1
    at = said.index("failed 1 of 3: test_tried.py::test_first_time")
    log = pathlib.Path(said[at + 1].strip())
    assert log.match("build-test/results/functional/logs/1/*test_first_time*")
    assert "said by the first" in log.read_text()
    assert "failed 3 of 3: test_tried.py::test_broken_end" in said
    assert "Not steady in 3 runs: 4" in said
    assert said[-4:] == ["flaky: test_tried.py::test_first_time",
                         "flaky: test_tried.py::test_first_end", "2 flaky", "2 passed, 4 failed"]


def test_two_runs_in_one_network_have_ports_of_their_own():
    """Postern has to bind what a test has found free; another run must not find it meanwhile."""
    find = ("from support.wait import free_port; import sys\n"
            "print(*(free_port() for _ in range(500)), flush=True)\n"
            "sys.stdin.read()")
    runs = [subprocess.Popen([sys.executable, "-c", find], cwd=ROOT / "test/functional", text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        found = [port for each in runs for port in each.stdout.readline().split()]
    finally:
        for each in runs:
            each.communicate()
    assert len(set(found)) == len(found) == 1500
