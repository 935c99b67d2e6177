"""The image that etc/Containerfile makes: built from a Debian of the test's own, and serving; alone
and, as etc/containers/compose.yml has it, with a Postfix."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from support import containers, processes, wait
from support.backend import Backend
from support.client import Client

ROOT = pathlib.Path(__file__).parents[3]
COMPOSE = ROOT / "etc/containers/compose.yml"
CONFIGURATION = """
hostname = "${{POSTERN_TEST_NAME}}"
tls {{ certificate = "/etc/postern/good.pem" key = "/etc/postern/good-key.pem" }}
listen "here" {{ address = "127.0.0.1:{port}" tls = "implicit" }}
backend {{ address = "{backend}" }}
"""

pytestmark = pytest.mark.skipif(containers.is_below_a_chroot(),
                                reason="containers need a root that is a mount")


def user(name, password):
    """A line of the file of users, made as the pages say."""
    hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, text=True,
                            capture_output=True, check=True).stdout.strip()
    return f"{name}:{hashed}\n"


@pytest.fixture(scope="module")
def buildah(work):
    """With the images of compose.yml, of which one is of etc/Containerfile."""
    made = containers.Buildah(work / "buildah")
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        build = service["build"] if isinstance(service["build"], dict) else {
            "context": service["build"]}
        context = (COMPOSE.parent / build["context"]).resolve()
        made.build(service["image"], context / build.get("dockerfile", "Containerfile"), context)
    return made


def test_image_serves(buildah, work, certificates, scratch):
    server, port = Backend(), wait.free_port()
    for file in (certificates.certificate, certificates.key):
        shutil.copy(file, scratch)
    (scratch / "good-key.pem").chmod(0o600)
    (scratch / "postern.conf").write_text(CONFIGURATION.format(port=port, backend=server.address))
    (scratch / "users").write_text(user("alice", "wonderland"))
    container = buildah("from", "--pull-never", "localhost/postern")
    shown = buildah("inspect", "--format", "{{.OCIv1.Config.Entrypoint}}", container)
    with open(scratch / "log", "wb") as log:
        process = buildah.start(
            "run", "--network", "host", "-v", f"{scratch}:/etc/postern:ro",
            "-e", "POSTERN_TEST_NAME=mail.example.org", container, "--", shown.strip("[]"),
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


@pytest.fixture(scope="module")
def site(work, buildah):
    """compose.yml, brought up with one command."""
    if os.getuid() != 0 or containers.missing():
        pytest.skip("containers of compose.yml need root and docker-compose with podman")
    directory = work / "site"
    shutil.copytree(COMPOSE.parent, directory / "etc/containers")
    made = containers.Compose(directory, buildah, directory / "etc/containers/compose.yml",
                              POSTERN_HOSTNAME="mail.example.net", RELAYHOST="[127.0.0.1]:9")
    made.users = directory / "etc/containers/postern/users"
    made("up", "-d", "--no-build")
    wait.until(lambda: "serving: " in made.log("postern"), "Postern", containers.PATIENCE)
    wait.until(lambda: "daemon started" in made.log("postfix"), "Postfix", containers.PATIENCE)
    yield made
    made.close()


def send(site, name, password, *words):
    return site.inside("swaks", "--server", "172.31.25.2", "--auth-user", name, "--auth-password",
                       password, "--from", "a@example.net", "--to", "b@example.com", *words,
                       check=False).stdout


def test_compose_takes_mail_of_a_user_of_the_file_to_postfix(site):
    """A line in the file is all that a user needs, and nothing is restarted."""
    assert "535" in send(site, "alice", "wonderland", "--port", "587", "--tls")
    with open(site.users, "a", encoding="ascii") as users:
        users.write(user("alice", "wonderland"))
    for words in (("--port", "587", "--tls"), ("--port", "465", "--tls-on-connect")):
        said = send(site, "alice", "wonderland", *words)
        queued = re.search(r"250 2\.0\.0 Ok: queued as (\w+)", said)
        assert queued, said + site.log("postern")
        wait.until(lambda: re.search(f"{queued[1]}: client=\\S+, sasl_method=XCLIENT, "
                                     "sasl_username=alice", site.log("postfix")), "Postfix's log")
    assert "535" in send(site, "alice", "wrong", "--port", "587", "--tls")


def test_compose_lets_nobody_relay_who_has_not_logged_in(site):
    said = site.inside("swaks", "--server", "172.31.25.3:10025", "--from", "a@example.net", "--to",
                       "b@example.com", check=False).stdout
    assert re.search(r"<\*\* 554 5\.7\.1 .*(Access|Relay access) denied", said), said
    told = site.run("postern", "postern", "doctor")
    assert "errors: 0" in told.stdout, told.stdout + told.stderr


def test_compose_has_postern_as_first_process_of_a_read_only_tree(site):
    assert site.run("postern", "cat", "/proc/1/comm").stdout.strip() == "postern"
    for path in ("/etc/x", "/etc/postern/x"):
        assert "Read-only file system" in site.run("postern", "touch", path).stderr
    assert "mail.example.net: serving" in site.run("postern", "posternctl", "status").stdout


def test_compose_stops_with_sessions_ended_and_not_killed(site):
    site("stop", "--timeout", "60")
    assert site.state("postern")["ExitCode"] == 0
