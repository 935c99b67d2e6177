"""Turns figures into tables: medians, ratios within a round, and the aims with what was reached."""

import platform
import statistics
import subprocess

from scenarios import SCENARIOS

SUBJECT = "postern"
PLAIN_PROXIES = ("nginx", "haproxy", "hitch", "stunnel")


class Figures:
    """The results of a run, asked for by scenario, server and label."""

    def __init__(self, results):
        self.results = results

    def median(self, scenario, server, label=""):
        values = [figures[label] for _, figures in self.results.get((scenario, server), [])
                  if label in figures]
        return statistics.median(values) if values else None

    def ratio(self, scenario, server, label=""):
        """Median over the rounds of the subject's figure against that server's of the round."""
        theirs = {turn: figures[""] for turn, figures in self.results.get((scenario, server), [])}
        ratios = [figures[label] / theirs[turn]
                  for turn, figures in self.results.get((scenario, SUBJECT), [])
                  if label in figures and theirs.get(turn)]
        return statistics.median(ratios) if ratios else None

    def ratio_to_best(self, scenario):
        ratios = [self.ratio(scenario, server) for server in PLAIN_PROXIES]
        return max((ratio for ratio in ratios if ratio is not None), default=None)

    def labels(self, scenario, server):
        rounds = self.results.get((scenario, server), [])
        return [label for label in rounds[0][1] if label] if rounds else []


# (what, its figure, the most or least that it may be, which of the two, unit)
AIMS = (
    ("session, reactor against nginx", lambda f: f.ratio("session", "nginx", "reactor"),
     0.70, "most", ""),
    ("session, reactor and auth workers against nginx", lambda f: f.ratio("session", "nginx"),
     0.85, "most", ""),
    ("session, 10 at once, reactor against nginx",
     lambda f: f.ratio("session-few", "nginx", "reactor"), 0.70, "most", ""),
    ("session, 10 at once, reactor and auth workers against nginx",
     lambda f: f.ratio("session-few", "nginx"), 0.85, "most", ""),
    ("resumed session, reactor against nginx", lambda f: f.ratio("resumed", "nginx", "reactor"),
     0.70, "most", ""),
    ("resumed session, 10 at once, reactor against nginx",
     lambda f: f.ratio("resumed-few", "nginx", "reactor"), 0.70, "most", ""),
    ("bulk against the best of nginx, HAProxy, hitch, stunnel",
     lambda f: f.ratio_to_best("bulk"), 0.70, "most", ""),
    ("idle session", lambda f: f.median("idle", SUBJECT), 13, "most", " KiB"),
    ("idle session against HAProxy", lambda f: f.ratio("idle", "haproxy"), 1.0, "most", ""),
    ("new login among held sessions", lambda f: f.median("crowd", SUBJECT), 1.5, "most", " ×"),
    ("lone session", lambda f: f.median("lone", SUBJECT), 3, "most", " ms"),
    ("lone session with STARTTLS", lambda f: f.median("lone-starttls", SUBJECT), 4, "most",
     " ms"),
    ("two reactors against one", lambda f: f.median("reactors", SUBJECT), 1.7, "least", " ×"),
    ("scanner, ordinary text", lambda f: f.median("scanner", SUBJECT), 10, "least", " GB/s"),
    ("scanner, dots and empty lines",
     lambda f: f.median("scanner", SUBJECT, "dots and empty lines, GB/s"), 3, "least", " GB/s"),
    ("spread over concurrency", lambda f: f.median("linear", SUBJECT), 15, "most", " %"),
)


def _table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def _cell(figures, scenario, server):
    median = figures.median(scenario.name, server)
    if median is None:
        return "–"
    text = f"{median:,.{scenario.digits}f}"
    ratio = figures.ratio(scenario.name, server)
    return text if ratio is None or server == SUBJECT else f"{text} ({ratio:.2f})"


def main_table(figures, scenarios, rows, floor):
    head = [""] + [f"{scenario.title}, {scenario.unit}" for scenario in scenarios]
    body = [[row.title] + [_cell(figures, scenario, row.name) for scenario in scenarios]
            for row in rows]
    if floor:
        known = {"session": f"{floor['full_us']:.0f}", "resumed": f"{floor['resumed_us']:.0f}",
                 "bulk": f"{floor['gigabyte_s']:.3f}"}
        body.append(["floor: OpenSSL alone, in memory"]
                    + [known.get(scenario.name, "") for scenario in scenarios])
    return _table(head, body)


def detail_table(figures, rows):
    body = []
    for scenario in SCENARIOS:
        for row in rows:
            for label in figures.labels(scenario.name, row.name):
                median = figures.median(scenario.name, row.name, label)
                body.append([scenario.name, row.name, label, f"{median:,.4g}"])
    return _table(["scenario", "server", "figure", "median"], body) if body else []


def aims_table(figures):
    body = []
    for what, figure, limit, bound, unit in AIMS:
        value = figure(figures)
        if value is None:
            continue
        reached = value <= limit if bound == "most" else value >= limit
        body.append([what, f"{value:.2f}{unit}", f"at {bound} {limit:g}{unit}",
                     "yes" if reached else "no"])
    return _table(["aim", "measured", "asked", "reached"], body) if body else []


def _cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        models = [line.partition(":")[2].strip() for line in file
                  if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {len(models)} processors"


def _first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True,
                              check=False).stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"


def machine_lines(peers, source, sink, pairs):
    versions = ", ".join(map(" ".join, sorted(peers.versions().items())))
    with open("/etc/os-release", encoding="utf-8") as file:
        system = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    return [
        f"- Processor: {_cpu_model()}",
        f"- System: {system.get('PRETTY_NAME', 'unknown').strip(chr(34))}, "
        f"kernel {platform.release()}",
        f"- Postern: {_first_line('git', '-C', source, 'describe', '--always', '--dirty')}, "
        f"{_first_line('openssl', 'version')}",
        f"- Peers: {versions}",
        f"- Mail server behind them: {sink}, and our own where thousands of sessions are open; "
        f"{pairs} rounds", ""]


HOW = """Each figure is the median of the rounds; in parentheses stands Postern's figure divided by
that server's, as the median of the ratios within a round. The server is pinned to one processor, load
and mail server to the other; CPU is user and system time of the server's whole process tree;
memory is the PSS that each held session adds. All speak TLS 1.3 with X25519, AES-128-GCM and one
P-256 certificate. nginx's authentication server is nginx's own HTTP side, in the same process.
Postern logs a line for each session, as it does by default.
"""


def render(figures, scenarios, rows, floor, about):
    lines = ["# Postern beside other TLS front doors", "", *about, *HOW.splitlines(), ""]
    lines += main_table(figures, scenarios, rows, floor)
    for title, table in (("Aims", aims_table(figures)),
                         ("In detail", detail_table(figures, rows))):
        if table:
            lines += [f"## {title}", "", *table]
    return "\n".join(lines).rstrip() + "\n"
