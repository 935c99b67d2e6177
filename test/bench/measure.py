"""One figure at a time: CPU, memory or latency of one server under one load."""

import contextlib
import dataclasses
import os
import shutil
import subprocess

import processes
import servers

LOGIN = "load@example.org:not-a-secret"
MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Load:
    """What the load generator is asked for."""

    mode: str = "tls"
    concurrency: int = 20
    sessions: int = 1
    messages: int = 1
    size: int = 1024
    resume: bool = False

    @property
    def bytes(self):
        return self.sessions * self.messages * self.size

    def arguments(self, row):
        options = ["-m", self.mode, "-c", self.concurrency, "-n", self.sessions,
                   "-R", self.messages, "-s", self.size]
        if row.login:
            options += ["-a", LOGIN]
        if self.resume:
            options += ["-r"]
        return [str(option) for option in options]


@dataclasses.dataclass
class Cost:
    """CPU of a server's process tree under a load, and what the load saw."""

    total_us: float
    roles_us: dict
    totals: dict


def parse(line):
    """The load generator's line of figures."""
    return {key: float(value) for key, _, value in (word.partition("=") for word in line.split())}


class Machine:
    """The directories, programs and processors that all measurements share."""

    def __init__(self, directory, peers, build, sink):
        self.directory = directory
        self.peers = peers
        self.build = build
        self.room = processes.raise_file_limit()
        self.server_cpus, self.load_cpus = self._share_cpus()
        self.certificate, self.key = servers.make_certificate(directory)
        self.sink_name = sink
        self.sink_port = processes.free_port()

    @staticmethod
    def _share_cpus():
        cpus = sorted(os.sched_getaffinity(0))
        return {cpus[-1]}, set(cpus[:-1]) or set(cpus)

    def sink(self, name=""):
        """Starts the mail server behind all the others."""
        if (name or self.sink_name) == "smtp-sink":
            user = ["-u", servers.USER] if os.getuid() == 0 else []
            argv = [self.peers.program("usr/sbin/smtp-sink"), *user, "-m", "60000",
                    f"127.0.0.1:{self.sink_port}", str(servers.BACKLOG)]
            env = self.peers.environment()
        else:
            argv = [str(self.build / "test/bench/sink"), "127.0.0.1", str(self.sink_port)]
            env = None
        return processes.Server(argv, [self.sink_port], self.load_cpus,
                                self.directory / "sink.log", env)

    @contextlib.contextmanager
    def server(self, row, reactors=1, cpus=None):
        """Starts a server of the table; gives its Place and its process."""
        directory = self.directory / row.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        directory.chmod(0o755)
        place = servers.Place(
            directory, self.peers, self.build / "postern", self.certificate, self.key,
            *(processes.free_port() for _ in range(3)), self.sink_port, self.room, reactors)
        ports = [getattr(place, mode) for mode in row.modes]
        env = self.peers.environment() if row.peers_libraries else None
        with processes.Server(row.start(place), ports, cpus or self.server_cpus,
                              directory / "output.log", env, directory) as server:
            yield place, server

    def _argv(self, row, place, load, extra=()):
        return [str(self.build / "test/bench/load"), *load.arguments(row), *extra, "127.0.0.1",
                str(getattr(place, load.mode))]

    def _pin(self):
        os.sched_setaffinity(0, self.load_cpus)

    def load(self, row, place, load):
        """Runs a load to its end and gives its figures."""
        result = subprocess.run(self._argv(row, place, load, ["-t", "300"]), text=True,
                                capture_output=True, preexec_fn=self._pin, check=False)
        if result.returncode != 0:
            raise processes.Failed(f"{result.stdout}{result.stderr}".strip())
        return parse(result.stdout)

    @contextlib.contextmanager
    def held(self, row, place, load):
        """While the block runs, all the load's sessions are open and idle."""
        with subprocess.Popen(self._argv(row, place, load, ["-H", "-t", "300"]), text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=self._pin) as process:
            totals = parse(process.stdout.readline())
            try:
                if totals.get("ok") != load.sessions:
                    raise processes.Failed(f"of {load.sessions} sessions, {totals}")
                yield totals
            finally:
                process.stdin.close()
                rest, complaints = process.stdout.read(), process.stderr.read()
                if process.wait(60) != 0:
                    raise processes.Failed(f"{rest}{complaints}".strip())

    def cpu(self, row, load, reactors=1, cpus=None):
        """The Cost of a load on a fresh server that has been warmed up with a tenth of it."""
        warm = dataclasses.replace(load, sessions=max(load.sessions // 10, 2))
        with self.server(row, reactors, cpus) as (place, server):
            self.load(row, place, warm)
            before = processes.settled_cpu_ns(server.pid)
            totals = self.load(row, place, load)
            after = processes.settled_cpu_ns(server.pid)
        spent = {title: (ns - before.get(title, 0)) / 1e3 for title, ns in after.items()}
        roles = {role: sum(us for title, us in spent.items() if text in title)
                 for role, text in row.roles}
        return Cost(sum(spent.values()), roles, totals)

    def idle(self, row, sessions):
        """Bytes (PSS) that one idle session with its backend open adds to a warm server."""
        with self.server(row) as (place, server):
            self.load(row, place, Load(sessions=20, concurrency=5))
            empty = processes.tree_pss_bytes(server.pid)
            with self.held(row, place, Load(sessions=sessions, concurrency=50, messages=0)):
                return (processes.tree_pss_bytes(server.pid) - empty) / sessions

    def latency_us(self, row, mode, sessions=100):
        """Median time of a session that has the server to itself, from connect() to 221."""
        with self.server(row) as (place, _):
            self.load(row, place, Load(mode=mode, concurrency=1, sessions=10))
            return self.load(row, place,
                             Load(mode=mode, concurrency=1, sessions=sessions))["median_us"]

    def crowded_login_us(self, row, held, logins=100):
        """Median times of a new login: on an empty server, and among so many held sessions."""
        alone = Load(concurrency=1, sessions=logins, messages=0)
        with self.server(row) as (place, _):
            self.load(row, place, alone)
            empty = self.load(row, place, alone)["median_us"]
            with self.held(row, place, Load(sessions=held, concurrency=50, messages=0)):
                return empty, self.load(row, place, alone)["median_us"]

    def scanner_speeds(self):
        """{kind of message: GB/s} of the scanner, on one of the server's processors."""
        result = subprocess.run(
            [self.build / "test/bench/scan"], capture_output=True, text=True, check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, self.server_cpus))
        rows = [line.rsplit(maxsplit=4) for line in result.stdout.splitlines()[1:]]
        return {name.strip(): float(speed) for name, *_, speed in rows}
