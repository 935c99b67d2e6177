"""Debian's packages, unpacked and not installed: they may conflict with each other and with what
the machine has."""

import functools
import hashlib
import os
import pathlib
import re
import subprocess
import tempfile

CACHE = pathlib.Path(os.environ.get("POSTERN_TEST_CACHE")
                     or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "/var/tmp") / "postern-test")


@functools.cache
def unpack(*names):
    """The packages' files in one tree, fetched with apt once and kept. Returns its directory."""
    CACHE.mkdir(parents=True, exist_ok=True)
    prefix = CACHE / tree_name(names)
    if prefix.is_dir():
        return prefix
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        _run("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *names, cwd=scratch)
        for package in sorted(pathlib.Path(scratch).glob("*.deb")):
            _run("dpkg", "-x", package, "tree", cwd=scratch)
        os.chmod(f"{scratch}/tree", 0o755)
        try:
            os.rename(f"{scratch}/tree", prefix)
        except OSError:
            if not prefix.is_dir():  # somebody else was as quick
                raise
    return prefix


def tree_name(names):
    """Another one for other versions."""
    shown = _run("apt-cache", "show", "--no-all-versions", *names)
    versions = re.findall(r"^Version: (.*)$", shown, re.MULTILINE)
    assert len(versions) == len(names), f"not one of each of {names}:\n{shown}"
    digest = hashlib.sha256(repr((names, versions)).encode()).hexdigest()[:12]
    return f"{names[0]}-{versions[0].replace(':', '_')}-{digest}"


def _run(*command, cwd=None):
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout
