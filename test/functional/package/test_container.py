"""The image that etc/Containerfile makes: built from a Debian of the test's own, and serving."""

import os
import pathlib
import shutil
import subprocess

import pytest

from support import processes, wait
from support.backend import Backend
from support.client import Client
from support import debian

ROOT = pathlib.Path(__file__).parents[3]
CONFIGURATION = """
hostname = "mail.example.org"
tls {{ certificate = "/etc/postern/good.pem" key = "/etc/postern/good-key.pem" }}
listen "here" {{ address = "127.0.0.1:{port}" tls = "implicit" }}
backend {{ address = "{backend}" }}
"""


class Buildah:
    def __init__(self, directory):
        self._command = ["buildah", "--storage-driver", "vfs", "--root", directory / "storage",
                         "--runroot", directory / "run"]
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}

    def command(self, *words):
        return [*self._command, *words]

    def __call__(self, *words):
        result = subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                                env=self._environment, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        return result.stdout.strip()

    def start(self, *words, **options):
        return subprocess.Popen(self.command(*words), env=self._environment, **options)


def is_below_a_chroot():
    """Whose root is no mount of its own, as containers need it."""
    mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return not any(line.split()[4] == "/" for line in mounts)


@pytest.fixture(scope="module")
def buildah(work):
    """With an image by the name that the file begins with."""
    made = Buildah(work / "buildah")
    container = made("from", "scratch")
    made("add", "--quiet", container, debian.base(), "/")
    made("commit", "--quiet", "--rm", container, "localhost/debian:12-slim")
    made("bud", "--pull-never", "--network", "host", "-t", "postern", "-f",
         ROOT / "etc/Containerfile", ROOT)
    return made


@pytest.mark.skipif(is_below_a_chroot(), reason="containers need a root that is a mount")
def test_image_serves(buildah, work, certificates, scratch):
    server, port = Backend(), wait.free_port()
    for file in (certificates.certificate, certificates.key):
        shutil.copy(file, scratch)
    (scratch / "good-key.pem").chmod(0o600)
    (scratch / "postern.conf").write_text(CONFIGURATION.format(port=port, backend=server.address))
    (scratch / "pam").write_text("auth required pam_permit.so\naccount required pam_permit.so\n")
    container = buildah("from", "--pull-never", "localhost/postern")
    shown = buildah("inspect", "--format", "{{.OCIv1.Config.Entrypoint}}", container)
    with open(scratch / "log", "wb") as log:
        process = buildah.start(
            "run", "--network", "host", "-v", f"{scratch}:/etc/postern:ro",
            "-v", f"{scratch}/pam:/etc/pam.d/postern:ro", container, "--", shown.strip("[]"),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait.until(lambda: "serving: " in (scratch / "log").read_text() or
                   process.poll() is not None, "the server")
        assert process.poll() is None, (scratch / "log").read_text()
        with Client(("127.0.0.1", port), tls=True) as one:
            one.greeting()
            one.ehlo()
            one.login("alice", "wonderland")
            one.send_message("a@b.test", ["c@d.test"], b"text\r\n")
            one.quit()
        assert any(session.messages for session in server.sessions)
        buildah("run", container, "--", "posternctl", "--version")
    finally:
        for pid in processes.descendants(process.pid):
            if processes.title(pid).startswith("/usr/sbin/postern"):
                os.kill(pid, 15)
        processes.end(process)
        server.close()
