"""Compares Postern with the TLS front doors that Debian has, side by side on this machine.

Builds Postern and the load generator, unpacks the peers, runs the scenarios and prints the table
with the ratios. Everything listens on loopback, in a directory that is removed at the end.
"""

import argparse
import dataclasses
import hashlib
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import measure
import peers
import processes
import report
import scenarios
import servers

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RESULTS = pathlib.Path(__file__).resolve().with_name("RESULTS.md")
TOOLS = ("apt-get", "dpkg", "meson", "ninja", "cc", "openssl")
QUICK_PAIRS, FULL_PAIRS = 2, 5


def tell(text):
    print(text, file=sys.stderr, flush=True)


def _names(known):
    def parse(text):
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; "
                                             f"there are {', '.join(known)}")
        return text.split(",")
    return parse


def arguments():
    scenario_names = [scenario.name for scenario in scenarios.SCENARIOS]
    server_names = [row.name for row in servers.SERVERS]
    parser = argparse.ArgumentParser(prog="test/bench/run", description=__doc__)
    parser.add_argument("--only", metavar="NAMES", type=_names(scenario_names),
                        default=scenario_names, help=", ".join(scenario_names))
    parser.add_argument("--servers", metavar="NAMES", type=_names(server_names),
                        default=server_names, help=", ".join(server_names))
    parser.add_argument("--pairs", metavar="N", type=int, help=f"rounds ({FULL_PAIRS})")
    parser.add_argument("--quick", action="store_true",
                        help="small loads and few rounds: whether it works, not how well")
    parser.add_argument("--idle", metavar="N", type=int, help="sessions held for their memory")
    parser.add_argument("--crowd", metavar="N", type=int,
                        help="sessions held around a new login")
    parser.add_argument("--sink", choices=("smtp-sink", "own"), default="smtp-sink",
                        help="the mail server behind: Postfix's, or a quicker one that takes "
                        "every XCLIENT attribute")
    parser.add_argument("--buildtype", default="debugoptimized", help="meson's (debugoptimized)")
    parser.add_argument("--before", metavar="BINARY", type=pathlib.Path,
                        help="another build of Postern, measured in the same rounds")
    parser.add_argument("--keep", action="store_true", help="leave the servers' logs behind")
    parser.add_argument("--write", action="store_true", help=f"keep the report in {RESULTS.name}")
    return parser.parse_args()


def check_tools():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)} (as root, test/run installs what a build "
                         "needs)")


def build(buildtype):
    """Configures and compiles what is measured, in a directory of its own; gives that directory."""
    mark = hashlib.sha256(f"{SOURCE} {buildtype}".encode()).hexdigest()[:12]
    directory = peers.CACHE / "bench" / f"build-{mark}"
    if not (directory / "build.ninja").exists():
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run(["meson", "setup", directory, SOURCE, "-Dbench=true",
                        f"-Dbuildtype={buildtype}"], check=True, stdout=sys.stderr)
    subprocess.run(["ninja", "-j2", "-C", directory, "postern", "test/bench/load",
                    "test/bench/floor", "test/bench/sink", "test/bench/scan"], check=True,
                   stdout=sys.stderr)
    return directory


def sizes(options):
    chosen = scenarios.Sizes.quick() if options.quick else scenarios.Sizes()
    chosen.idle = options.idle or chosen.idle
    chosen.crowd = options.crowd or chosen.crowd
    return chosen


def floor(machine):
    result = subprocess.run([machine.build / "test/bench/floor", machine.certificate, machine.key],
                            capture_output=True, text=True, check=True)
    return measure.parse(result.stdout)


def with_before(chosen):
    """The other build takes part wherever Postern does."""
    return [dataclasses.replace(scenario, servers=scenario.servers | {"before"})
            for scenario in chosen]


def compare(options, peer_tree, build_directory, directory):
    """The report of a whole run, and what could not be measured."""
    machine = measure.Machine(directory, peer_tree, build_directory, options.sink)
    chosen = [scenario for scenario in scenarios.SCENARIOS if scenario.name in options.only]
    rows = [row for row in servers.SERVERS if row.name in options.servers]
    if options.before:
        rows.insert(-1, servers.another_postern(options.before.resolve()))
    pairs = options.pairs or (QUICK_PAIRS if options.quick else FULL_PAIRS)
    results, failures = scenarios.run(machine, with_before(chosen), rows, pairs, sizes(options),
                                      tell)
    about = report.machine_lines(peer_tree, SOURCE, options.sink, pairs)
    text = report.render(report.Figures(results), chosen, rows, floor(machine), about)
    return text, failures


def main():
    options = arguments()
    check_tools()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    processes.adopt_orphans()
    peer_tree = peers.Peers()
    peer_tree.fetch()
    build_directory = build(options.buildtype)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postern-bench."))
    directory.chmod(0o755)
    try:
        text, failures = compare(options, peer_tree, build_directory, directory)
    finally:
        if options.keep:
            tell(f"logs and configurations: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(text, end="")
    if options.write and not failures:
        RESULTS.write_text(text, encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
