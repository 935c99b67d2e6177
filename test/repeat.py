"""Runs pytest and tells unsteady tests from broken ones. Called by test/run.

    test/repeat.py RESULTS DIRECTORY [ARG…]
        runs the tests of DIRECTORY, then each failed test once more, alone. A test that passes
        then counts as passed and is listed as "flaky: NAME" with the log of its failure.
    test/repeat.py --times N RESULTS DIRECTORY [ARG…]
        runs all of them N times, repeats nothing, and lists each test that failed at least once.

ARGs go to pytest. RESULTS is a directory that is made anew. It gets `counts`, one line of four
numbers (passed, failed, skipped, flaky), `flaky`, a name a line, and `logs/RUN/TEST` for each
failure; run 0 is that of the repeated tests.

Each run of pytest is a process of its own (this program with --inside), so that its end, whatever
that is, is one more result here. A plugin writes what comes of each test as a line of JSON.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

#: So many tests that failed again mean a fault, not chance: the rest is not repeated.
ENOUGH = 10


class Plugin:
    """Inside pytest: writes down the outcome of each phase of each test."""

    def __init__(self, path):
        self._lines = open(path, "a", encoding="utf-8", buffering=1)

    def pytest_configure(self, config):
        self._write(root=str(config.rootpath))

    def pytest_runtest_logstart(self, nodeid):
        self._write(test=nodeid, outcome="begun")

    def pytest_runtest_logfinish(self, nodeid):
        self._write(test=nodeid, outcome="ended")

    def pytest_sessionfinish(self, exitstatus):
        self._write(status=int(exitstatus))

    def pytest_runtest_logreport(self, report):
        fields = {"test": report.nodeid, "outcome": report.outcome}
        if report.failed:
            fields["log"] = "\n".join(
                [f"{report.nodeid}, {report.when}:", report.longreprtext,
                 *(f"--- {title}\n{text}" for title, text in report.sections), ""])
        self._write(**fields)

    def _write(self, **fields):
        self._lines.write(json.dumps(fields) + "\n")


class Run:
    """One process of pytest and what came of it."""

    def __init__(self, lines, *arguments, cwd=None, quiet=False):
        lines.unlink(missing_ok=True)
        subprocess.run(
            [sys.executable, os.path.abspath(__file__), "--inside", lines, *arguments], cwd=cwd,
            stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None,
            check=False)
        self.root = self._status = None
        self.logs = {}          # {test: the log of its failure}
        self.passed, self.skipped = set(), set()
        if lines.exists():
            self._read(map(json.loads, lines.read_text("utf-8").splitlines()))

    @property
    def came_to_its_end(self):
        """pytest's statuses: 0 all passed, 1 some failed or it was told to leave, 5 none found."""
        return self._status in (0, 5) or (self._status == 1 and bool(self.logs))

    def _read(self, lines):
        outcomes = {}
        for fields in lines:
            self.root = fields.get("root", self.root)
            self._status = fields.get("status", self._status)
            if "test" in fields:
                outcomes.setdefault(fields["test"], []).append(fields["outcome"])
            if "log" in fields:
                self.logs[fields["test"]] = self.logs.get(fields["test"], "") + fields["log"]
        for name, those in outcomes.items():
            if "failed" in those:
                continue
            if those[-1] != "ended":
                self.logs[name] = f"{name}:\npytest itself came to an end in this test\n"
            elif "skipped" in those:
                self.skipped.add(name)
            else:
                self.passed.add(name)


class Results:
    """The directory of results."""

    def __init__(self, path):
        self._path = pathlib.Path(path).resolve()
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.mkdir(parents=True)
        self.lines = self._path / "lines"

    def save_logs(self, number, run):
        """Returns the directory of the logs of this run."""
        directory = self._path / "logs" / str(number)
        directory.mkdir(parents=True, exist_ok=True)
        for name, log in run.logs.items():
            (directory / log_name(name)).write_text(log, "utf-8", "replace")
        return directory

    def save(self, passed, failed, skipped, flaky):
        self.lines.unlink(missing_ok=True)
        (self._path / "flaky").write_text("".join(f"{name}\n" for name in flaky), "utf-8")
        (self._path / "counts").write_text(f"{passed} {failed} {skipped} {len(flaky)}\n")


def log_name(test):
    """A file name for the log of a test."""
    return re.sub(r"[^\w.,=-]+", "_", test)[:200]


def repeat_failed(results, first):
    """Runs each failed test once more, alone. Returns the names of those that passed."""
    flaky, again = [], 0
    if first.logs:
        print(f"\n{len(first.logs)} failed; each is repeated once, alone:", flush=True)
    for name, log in first.logs.items():
        if again == ENOUGH:
            print(f"{ENOUGH} failed again: the rest is not repeated", flush=True)
            break
        second = Run(results.lines, name, cwd=first.root, quiet=True)
        if name in second.passed:
            flaky.append(name)
            print(f"{log}flaky: {name} (above: the log of its failure)", flush=True)
        else:
            again += 1
            results.save_logs(0, second)
            print(f"failed again: {name}", flush=True)
    return flaky


def run_once(results, arguments):
    first = Run(results.lines, *arguments)
    results.save_logs(1, first)
    flaky = repeat_failed(results, first)
    # What ended pytest before its time has no name: it is one more failure.
    failed = len(first.logs) - len(flaky) + (not first.came_to_its_end)
    results.save(len(first.passed) + len(flaky), failed, len(first.skipped), flaky)


def run_often(results, times, arguments):
    tested, skipped, failures, broken = set(), set(), {}, 0
    for number in range(1, times + 1):
        print(f"run {number} of {times}:", flush=True)
        run = Run(results.lines, *arguments)
        logs = results.save_logs(number, run)
        tested |= run.passed | run.logs.keys()
        skipped |= run.skipped
        broken += not run.came_to_its_end
        for name in run.logs:
            failures.setdefault(name, []).append(logs / log_name(name))
    print(f"\nNot steady in {times} runs: {len(failures) or 'none'}")
    for name, logs in sorted(failures.items(), key=lambda item: -len(item[1])):
        print(f"failed {len(logs)} of {times}: {name}", *logs, sep="\n    ")
    flaky = [name for name, logs in failures.items() if len(logs) < times]
    results.save(len(tested - failures.keys()), len(failures) + broken, len(skipped - tested), flaky)


def inside(lines, *arguments):
    import pytest
    del sys.path[0]     # the directory of this file: nothing to import for tests
    return pytest.main(list(arguments), plugins=[Plugin(lines)])


def main(arguments):
    if arguments[0] == "--inside":
        return inside(*arguments[1:])
    sys.stdout.reconfigure(errors="backslashreplace")   # logs may have anything in them
    times = None
    if arguments[0] == "--times":
        times, arguments = int(arguments[1]), arguments[2:]
    results = Results(arguments[0])
    if times is None:
        run_once(results, arguments[1:])
    else:
        run_often(results, times, arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
