"""Images and containers below a directory of the test's own: built by buildah, run by it or, as
compose.yml says, by docker-compose with podman in a network namespace."""

import json
import os
import pathlib
import resource
import shutil
import subprocess

from support import debian, processes, wait

#: Seconds that a command of these may take; each container is a copy of its image.
PATIENCE = 600

#: Runs podman's service; what its networks keep elsewhere than below its directory is hidden.
_SERVICE = """
ip link set lo up
mkdir -p /var/lib/cni /run/cni && mount -t tmpfs none /var/lib/cni && mount -t tmpfs none /run/cni
exec podman system service --time 0 "unix://$1"
"""


def is_below_a_chroot():
    """Whose root is no mount of its own, as containers need it."""
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return not any(line.split()[4] == "/" for line in mounts)


def missing():
    """What there is not of that which compose() needs; or None."""
    return next((name for name in ("podman", "runc", "docker-compose", "iptables")
                 if not shutil.which(name, path=f"/usr/sbin:{os.environ['PATH']}")), None)


class Buildah:
    """Begins with an image by the name that the Containerfiles begin with."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._command = ["buildah", "--storage-driver", "vfs", "--root", self.storage,
                         "--runroot", self.run]
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        container = self("from", "scratch")
        self("add", "--quiet", container, debian.base(), "/")
        self("commit", "--quiet", "--rm", container, "localhost/debian:12-slim")

    @property
    def storage(self):
        return self.directory / "storage"

    @property
    def run(self):
        return self.directory / "run"

    def command(self, *words):
        return [*self._command, *words]

    def __call__(self, *words):
        result = subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                                env=self._environment, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout.strip()

    def start(self, *words, **options):
        return subprocess.Popen(self.command(*words), env=self._environment, **options)

    def build(self, name, file, context):
        self("bud", "--pull-never", "--network", "host", "-t", name, "-f", file, context)


class Compose:
    """The services of a compose file, with the images that a Buildah has made."""

    def __init__(self, directory, buildah, file, **variables):
        self.directory = pathlib.Path(directory)
        self._words = ["docker-compose", "-p", "trial", "-f", str(file)]
        socket = self.directory / "podman.sock"
        self._write_settings(buildah)
        self._environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.directory),
            "CONTAINERS_CONF": str(self.directory / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.directory / "storage.conf"),
            "DOCKER_HOST": f"unix://{socket}", "COMPOSE_HTTP_TIMEOUT": str(PATIENCE), **variables}
        with open(self.directory / "service.log", "wb") as log:
            self._service = subprocess.Popen(
                ["unshare", "--net", "--mount", "sh", "-ec", _SERVICE, "sh", socket],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait.until(lambda: socket.exists() or self._service.poll() is not None, "podman's service",
                   PATIENCE)
        assert self._service.poll() is None, (self.directory / "service.log").read_text()

    def _write_settings(self, buildah):
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        (self.directory / "containers.conf").write_text(f"""
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{self.directory}/libpod"
[network]
network_config_dir = "{self.directory}/networks"
""")
        (self.directory / "networks").mkdir()
        (self.directory / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{buildah.storage}"\n'
            f'runroot = "{buildah.run}"\n')

    def inside(self, *words, check=True):
        """A program of this machine in their network, as a host that clients are on."""
        result = subprocess.run(
            ["nsenter", f"--target={self._service.pid}", "--net", "--mount", *words],
            env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False, timeout=PATIENCE)
        assert not check or result.returncode == 0, f"{words}:\n{result.stdout}{result.stderr}"
        return result

    def __call__(self, *words, check=True):
        return self.inside(*self._words, *words, check=check)

    def run(self, container, *words):
        """A program in a container: its result."""
        return self.inside("podman", "exec", container, *words, check=False)

    def log(self, service):
        return self("logs", "--no-color", service).stdout

    def state(self, container):
        """As podman has it: Status, ExitCode …"""
        shown = self.inside("podman", "inspect", container).stdout
        return json.loads(shown)[0]["State"]

    def close(self):
        self("down", "--volumes", "--timeout", "10", check=False)
        processes.end(self._service)
