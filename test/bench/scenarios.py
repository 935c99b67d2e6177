"""The scenarios: a row for each, with what is measured and in which unit.

Where thousands of sessions are open at once, the sink is our own: smtp-sink keeps its timers in a
list, so that each of its replies takes longer the more sessions there are.

A measure takes the machine, a server's row and the sizes, and returns {label: figure}; the label
"" is the figure that servers are compared by.
"""

import dataclasses
import typing

import processes
from measure import MEGABYTE, Load

EVERYBODY = frozenset(("nginx", "haproxy", "hitch", "stunnel", "dovecot", "postern"))
LINEAR = (10, 100, 1000, 5000)


@dataclasses.dataclass
class Sizes:
    """How large the loads are."""

    sessions: int = 6000
    bulk_sessions: int = 8
    lone_sessions: int = 50
    idle: int = 2000
    crowd: int = 9000
    linear: int = 6000

    @classmethod
    def quick(cls):
        return cls(sessions=600, bulk_sessions=2, lone_sessions=10, idle=300, crowd=1000,
                   linear=1000)


@dataclasses.dataclass
class Scenario:
    """One column of the table."""

    name: str
    title: str
    unit: str
    measure: typing.Callable
    servers: frozenset = EVERYBODY
    digits: int = 0
    sink: str = ""  # insists on this one


def _per_session(cost, sessions):
    figures = {"": cost.total_us / sessions}
    figures.update({role: us / sessions for role, us in cost.roles_us.items()})
    return figures


def _session(machine, row, sizes, concurrency):
    load = Load(concurrency=concurrency, sessions=sizes.sessions)
    return _per_session(machine.cpu(row, load), load.sessions)


def session(machine, row, sizes):
    return _session(machine, row, sizes, 100)


def session_few(machine, row, sizes):
    return _session(machine, row, sizes, 10)


def _resumed(machine, row, sizes, concurrency):
    load = Load(concurrency=concurrency, sessions=sizes.sessions, resume=True)
    return _per_session(machine.cpu(row, load), load.sessions)


def resumed(machine, row, sizes):
    return _resumed(machine, row, sizes, 100)


def resumed_few(machine, row, sizes):
    return _resumed(machine, row, sizes, 10)


def bulk(machine, row, sizes):
    load = Load(concurrency=2, sessions=sizes.bulk_sessions, messages=5, size=25 * MEGABYTE)
    return {"": machine.cpu(row, load).total_us * 1e3 / load.bytes}


def idle(machine, row, sizes):
    return {"": machine.idle(row, min(sizes.idle, row.idle_limit)) / 1024}


def _lone(machine, row, sizes, mode):
    if mode not in row.modes:
        return {}
    return {"": machine.latency_us(row, mode, sizes.lone_sessions) / 1e3}


def lone_tls(machine, row, sizes):
    return _lone(machine, row, sizes, "tls")


def lone_starttls(machine, row, sizes):
    return _lone(machine, row, sizes, "starttls")


def linear(machine, row, sizes):
    """CPU for a session at each concurrency; the figure is how far they lie apart, in percent."""
    figures = {}
    for concurrency in LINEAR:
        load = Load(concurrency=concurrency, sessions=max(sizes.linear, 2 * concurrency))
        cost = machine.cpu(row, load)
        figures[f"at {concurrency}, µs"] = cost.total_us / load.sessions
    figures[""] = (max(figures.values()) / min(figures.values()) - 1) * 100
    return figures


def crowd(machine, row, sizes):
    """A new login among many held sessions, as a multiple of its time on an empty server."""
    empty_us, crowded_us = machine.crowded_login_us(row, sizes.crowd)
    return {"": crowded_us / empty_us, "held": sizes.crowd, "empty, ms": empty_us / 1e3,
            "crowded, ms": crowded_us / 1e3}


def reactors(machine, row, sizes):
    """How much more two reactors do than one: both run at once on all processors, and the CPU
    that a session costs tells what they take from each other."""
    everywhere = machine.server_cpus | machine.load_cpus
    load = Load(concurrency=200, sessions=sizes.sessions)
    one, two = (machine.cpu(row, load, reactors=count, cpus=everywhere) for count in (1, 2))
    return {"": 2 * one.total_us / two.total_us,
            "one, µs": one.total_us / load.sessions, "two, µs": two.total_us / load.sessions}


def scanner(machine, _row, _sizes):
    """The message scanner by itself, repairs included; what is compared is ordinary text."""
    speeds = machine.scanner_speeds()
    return {"": speeds["text"], **{f"{kind}, GB/s": speed for kind, speed in speeds.items()}}


SCENARIOS = (
    Scenario("session", "CPU for a session (full handshake, one 1 KB message)", "µs", session),
    Scenario("session-few", "the same, 10 at once instead of 100", "µs", session_few),
    Scenario("resumed", "CPU for a resumed one", "µs", resumed),
    Scenario("resumed-few", "the same, 10 at once", "µs", resumed_few),
    Scenario("bulk", "CPU for 1 GB in 25 MB messages", "s", bulk, digits=3),
    Scenario("idle", "memory for an idle TLS session with its backend open (PSS)", "KiB", idle,
             digits=1),
    Scenario("lone", "latency of a lone session", "ms", lone_tls, digits=2),
    Scenario("lone-starttls", "the same with STARTTLS", "ms", lone_starttls, digits=2,
             servers=frozenset(("nginx", "stunnel", "dovecot", "postern"))),
    Scenario("linear", "spread of CPU for a session over concurrency", "%", linear,
             servers=frozenset(("nginx", "postern")), sink="own"),
    Scenario("crowd", "a new login among held sessions, against an empty server", "×", crowd,
             servers=frozenset(("nginx", "haproxy", "postern")), digits=2, sink="own"),
    Scenario("reactors", "sessions of two reactors against one", "×", reactors,
             servers=frozenset(("postern",)), digits=2),
    Scenario("scanner", "message scanner on ordinary text", "GB/s", scanner,
             servers=frozenset(("postern",)), digits=1),
)


def _measure(machine, scenario, row, sizes, turn, results):
    figures = scenario.measure(machine, row, sizes)
    if figures:
        results.setdefault((scenario.name, row.name), []).append((turn, figures))
    return f"{figures['']:.4g}" if figures else "does not do that"


def _rounds(machine, scenario, rows, pairs, sizes, results, tell):
    """Takes the servers in another order each round, so that what changes on the machine
    meanwhile meets all alike. Gives what failed."""
    failures = []
    for turn in range(pairs):
        shift = turn % len(rows)
        for row in rows[shift:] + rows[:shift]:
            try:
                told = _measure(machine, scenario, row, sizes, turn, results)
            except processes.Failed as failure:
                told = str(failure)
                failures.append(f"{scenario.name}: {row.name}: {failure}")
            tell(f"{scenario.name} {turn + 1}/{pairs} {row.name}: {told}")
    return failures


def run(machine, scenarios, rows, pairs, sizes, tell):
    """{(scenario, server): [(round, figures)]}, and what failed."""
    results, failures = {}, []
    for scenario in scenarios:
        taking_part = [row for row in rows if row.name in scenario.servers]
        if taking_part:
            with machine.sink(scenario.sink):
                failures += _rounds(machine, scenario, taking_part, pairs, sizes, results, tell)
    return results, failures
