"""Processes that the benchmark starts: pinned, waited for, counted, and ended by their id."""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server or a load did not do what it was started for."""


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def adopt_orphans():
    """What a server leaves behind becomes our child, so that we know it for ours and end it."""
    pr_set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(pr_set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def free_port():
    """A port below those that clients' own sockets are given."""
    for port in range(10000 + os.getpid() % 10000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in free_port.given:
                free_port.given.add(port)
                return port
    raise Failed("no free port")


free_port.given = set()


def is_listening(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _stat(pid):
    """(parent, ns of reaped children) of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[1]), (int(fields[13]) + int(fields[14])) * TICK_NS


def tree(pid):
    """The ids of a process and all its descendants."""
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            children.setdefault(_stat(entry)[0], []).append(int(entry))
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def title(pid):
    """The command line as ps would show it."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode(errors="replace").strip()


def cpu_ns(pid):
    """User and system time of a process, its ended threads and reaped children included.

    The process clock (clock_getcpuclockid(3)) counts nanoseconds; only what reaped children
    leave behind is in ticks.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) + _stat(pid)[1]


def tree_cpu_ns(pid):
    """{title: ns}, the processes of one title added up."""
    totals = {}
    for member in tree(pid):
        try:
            name = title(member)
            totals[name] = totals.get(name, 0) + cpu_ns(member)
        except OSError:
            continue
    return totals


def settled_cpu_ns(pid, deadline_s=2):
    """The same once the tree has come to rest, so that what follows a load's end is counted."""
    before = tree_cpu_ns(pid)
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        time.sleep(0.05)
        now = tree_cpu_ns(pid)
        if sum(now.values()) - sum(before.values()) < 100_000:
            return now
        before = now
    return before


def tree_pss_bytes(pid):
    """Proportional set size of a tree: shared pages count once, divided among their users."""
    total = 0
    for member in tree(pid):
        try:
            with open(f"/proc/{member}/smaps_rollup", encoding="ascii") as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except OSError:
            continue
    return total * 1024


class Server:
    """A running server; ends with the `with` block that holds it."""

    def __init__(self, argv, ports, cpus, log, env=None, cwd="/"):
        self.ports = ports
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=env,
                preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        try:
            self._await_ports()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self):
        return self.process.pid

    def _await_ports(self, deadline_s=15):
        deadline = time.monotonic() + deadline_s
        waiting = list(self.ports)
        while waiting:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"did not start: {self.last_words()}")
            if is_listening(waiting[0]):
                waiting.pop(0)
            else:
                time.sleep(0.02)

    def last_words(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return " / ".join(file.read().splitlines()[-4:])

    def stop(self):
        members = set(tree(self.pid))
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in members & set(tree(os.getpid())):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if any(map(is_listening, self.ports)):
            raise Failed(f"{self.process.args[0]} has ended, and still somebody listens")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

