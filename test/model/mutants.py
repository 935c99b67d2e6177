"""Posterns with a fault put in by hand, to prove that the model finds it within a minute.

    test/run model mutants [NAME …]

A copy of the sources is changed, built with sanitizers and given to the model. mutant_table.py
has the faults.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from mutant_table import MUTANTS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("POSTERN_TEST_BUILD", ROOT / "build-test")) / "mutants"
#: What a build needs of the tree.
SOURCES = ("meson.build", "meson_options.txt", "proxy", "auth", "tls", "etc", "test/meson.build")
OPTIONS = ("-Dbuildtype=debug", "-Db_sanitize=address,undefined",
           "-Dc_link_args=-Wl,--push-state,--no-as-needed,-lcrypt,--pop-state")
#: Seconds within which a mutant must be found.
LIMIT_S = 60


def _copy(relative):
    """Keeps the time of a file that is the same, so that little is compiled."""
    source, target = ROOT / relative, BUILD / "source" / relative
    if source.is_dir():
        for each in sorted(source.iterdir()):
            _copy(each.relative_to(ROOT))
        return
    if target.exists() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise SystemExit(done.stdout.decode("utf-8", "replace")[-4000:])


def _prepare():
    for each in SOURCES:
        _copy(each)
    if not (BUILD / "gcc/build.ninja").exists():
        _run("meson", "setup", BUILD / "gcc", BUILD / "source", *OPTIONS)


def _changed(mutant):
    """The file of a mutant with its fault: (path, text)."""
    path = BUILD / "source" / mutant.file
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"mutant {mutant.name}: {mutant.file} has changed, and the text to "
                         f"replace stands there {text.count(mutant.old)} times: write it anew")
    return path, text.replace(mutant.old, mutant.new)


def _find(seed):
    """(the first finding of the model, seconds until then), or (None, None)."""
    environment = {**os.environ, "POSTERN_BINARY": str(BUILD / "gcc/postern")}
    began, lines, finding, spent = time.monotonic(), [], None, None
    with subprocess.Popen([HERE / "run", "--stop", "--seconds", str(LIMIT_S), "--seed", str(seed)],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace") as running:
        for line in running.stdout:
            lines.append(line)
            if line.startswith("FINDING ") and not finding:
                finding, spent = line[len("FINDING "):].strip(), time.monotonic() - began
    if not finding and running.returncode:
        raise SystemExit("".join(lines)[-4000:])
    return finding, spent


def _try(mutant):
    """True if the model finds it."""
    original = (ROOT / mutant.file).read_text("utf-8")
    path, text = _changed(mutant)
    path.write_text(text, "utf-8")
    try:
        _run("meson", "compile", "-C", BUILD / "gcc")
        finding, spent = _find(1)
    finally:
        path.write_text(original, "utf-8")
    if finding:
        print(f"ok      found in {spent:.0f} s: {mutant.name} ({mutant.breaks})\n"
              f"        {finding[:150]}", flush=True)
    else:
        print(f"FAILED  not found in {LIMIT_S} s: {mutant.name} ({mutant.breaks})", flush=True)
    return finding is not None


def main(names):
    unknown = set(names) - {each.name for each in MUTANTS}
    if unknown:
        raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [each for each in MUTANTS if not names or each.name in names]
    _prepare()
    for each in chosen:
        _changed(each)
    results = [_try(each) for each in chosen]
    print(f"{sum(results)} of {len(results)} mutants found")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
