"""Fixtures of the budgets: the release build, its load generator and its mail server."""

import os
import pathlib
import resource
import subprocess

import pytest

from support import processes, tracing, wait
from support.postern import BINARY, SANITIZERS, Word

import counting

TOOLS = pathlib.Path(BINARY).parent / "test/bench"
LOGIN = "load@example.org:not-a-secret"


def pytest_collection_modifyitems(items):
    if not (TOOLS / "load").exists():
        pytest.exit(f"there is no {TOOLS}/load: build with -Dbench=true", 1)
    for name in SANITIZERS:
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def room():
    """As many descriptors as there may be: hundreds of sessions are held at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture
def sink(scratch):
    """A mail server that takes everything, at once; its address."""
    port = wait.free_port()
    with open(scratch / "sink.log", "wb") as log:
        process = subprocess.Popen([TOOLS / "sink", "127.0.0.1", str(port)], stderr=log)
    wait.until(lambda: wait.port_answers(("127.0.0.1", port)), "the mail server")
    yield f"127.0.0.1:{port}"
    processes.end(process)


class Rig:
    """A Postern before that mail server, and lock-step clients: each waits for every reply."""

    def __init__(self, start, sink, **options):
        self.postern = start(sink, auth={"pam_service": "permit"},
                             backend={"identity_required": Word('{"HELO"}')},
                             limits={"connections_per_address": 0}, **options)
        self._ended = 0

    @property
    def reactor(self):
        return self.postern.pids("reactor")[0]

    @staticmethod
    def _options(**options):
        return [str(word) for pair in options.items() for word in (f"-{pair[0]}", pair[1])]

    def _command(self, options):
        host, port = self.postern.implicit
        return [TOOLS / "load", "-a", LOGIN, *self._options(**options), host, str(port)]

    def load(self, **options):
        """Runs the load generator with these of its options (n sessions, R messages in each, s
        bytes in each), and waits until the server has dealt with the end of each session."""
        subprocess.run(self._command(options), check=True, stdout=subprocess.DEVNULL,
                       timeout=wait.PATIENCE * 6)
        self._ended += options.get("n", 1)
        self.postern.wait_for_record(event="session ended", count=self._ended)

    def hold(self, sessions):
        """Opens so many sessions, and keeps them until the process's end."""
        process = subprocess.Popen([*self._command({"n": sessions, "c": 20, "R": 0}), "-H"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert f"ok={sessions} " in process.stdout.readline()
        return process


@pytest.fixture
def rig(start, sink):
    """rig(…) -> a Rig; options are those of support.postern.Postern."""
    return lambda **options: Rig(start, sink, **options)


@pytest.fixture
def traced(rig, scratch):
    """A Rig, and what tells the reactor's system calls."""
    trace = tracing.Trace(scratch)
    made = rig(command=trace.command)
    return made, trace.of(made.reactor)


@pytest.fixture
def counted(rig, scratch):
    """A Rig, and what counts the reactor's allocations."""
    counter = counting.Counter(scratch)
    made = rig(environment=counter.environment)
    return made, counter.of(made.reactor)
