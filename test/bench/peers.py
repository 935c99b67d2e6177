"""The peers: Debian's packages, downloaded and unpacked into a cache, never installed.

Nothing is configured, started or enabled on the machine by this, so nothing has to be stopped or
removed afterwards; and mail servers that conflict as packages lie side by side.
"""

import os
import pathlib
import re
import shutil
import subprocess

CACHE = pathlib.Path(os.environ.get("POSTERN_TEST_CACHE")
                     or f"{os.environ.get('XDG_CACHE_HOME') or '/var/tmp'}/postern-test")
PACKAGES = ("nginx", "libnginx-mod-mail", "haproxy", "hitch", "stunnel4", "dovecot-core",
            "dovecot-submissiond", "postfix")


class Peers:
    """A tree of unpacked packages, and what is needed to run a program of it."""

    def __init__(self):
        self.root = CACHE / "bench" / "root"
        self.archives = CACHE / "bench" / "archives"

    def fetch(self):
        """Downloads and unpacks, with the libraries that this machine lacks, unless it is done."""
        done = self.root / ".complete"
        if done.exists() and done.read_text().split() == list(PACKAGES):
            return
        shutil.rmtree(self.archives, ignore_errors=True)
        (self.archives / "partial").mkdir(parents=True)
        if not self._download():
            subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
            if not self._download():
                raise SystemExit("the peers could not be downloaded")
        self._unpack()
        done.write_text("\n".join(PACKAGES))

    def _download(self):
        print("downloading the peers", flush=True)
        command = ["apt-get", "install", "-q", "-y", "--download-only", "--reinstall",
                   "--no-install-recommends", "-o", f"Dir::Cache::archives={self.archives}",
                   "-o", "Debug::NoLocking=1", *PACKAGES]
        result = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        return result.returncode == 0

    def _unpack(self):
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        for archive in sorted(self.archives.glob("*.deb")):
            subprocess.run(["dpkg", "-x", archive, self.root], check=True)
        self.root.chmod(0o755)

    def program(self, path):
        return str(self.root / path)

    def environment(self):
        """What a program of the tree needs to find the libraries that came with it."""
        libraries = [self.root / "usr/lib" / name for name in
                     (self._triplet(), "postfix", "dovecot")]
        return dict(os.environ, LD_LIBRARY_PATH=":".join(map(str, libraries)))

    @staticmethod
    def _triplet():
        return os.uname().machine + "-linux-gnu"

    def versions(self):
        """{package: version} of what is unpacked."""
        found = {}
        for archive in self.archives.glob("*.deb"):
            name, version, _ = archive.stem.split("_")
            if name in PACKAGES:
                found[name] = re.sub(r"^\d+%3a", "", version)
        return found
