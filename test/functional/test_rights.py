"""`postern -n`, `setup` and the doctor foresee what the systemd unit keeps from Postern's root."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import needs_root
from support import pages, wait
from support import postern as posterns

pytestmark = needs_root

UNIT = pathlib.Path(pages.ROOT, "etc/postern.service.in").read_text()
NOBODY = 65534
#: Mounts pairs of what and where, and becomes the rest of the words.
INSIDE = """
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 77; shift 2; done
shift
exec "$@"
"""


class Host:
    """/srv is a directory of this test's, with a configuration and its files; /home is another
    one, and the unit is the shipped one, for that configuration."""

    def __init__(self, scratch, settings, certificates):
        self.scratch = scratch
        for name in ("system/postern.service.d", "srv", "home"):
            (scratch / name).mkdir(parents=True)
        self.srv, self.home = scratch / "srv", scratch / "home"
        shutil.copy(certificates.certificate, self.srv / "cert.pem")
        self._key = certificates.key
        self.settings = settings
        self.settings["tls"] = {"certificate": "/srv/cert.pem", "key": self.key("srv/key.pem")}
        self.unit(UNIT)

    def key(self, name, owner=0):
        """Puts the key there, and returns its path inside."""
        path = self.scratch / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(self._key, path)
        path.chmod(0o600)
        os.chown(path, owner, owner)
        return f"/{name}"

    def unit(self, text, **drop_ins):
        text = text.replace("@sysconfdir@/postern/postern.conf", "/srv/postern.conf")
        (self.scratch / "system/postern.service").write_text(text)
        for name, lines in drop_ins.items():
            (self.scratch / f"system/postern.service.d/{name}.conf").write_text(
                f"[Service]\n{lines}\n")

    def run(self, *arguments, before=(), write=True):
        if write:
            (self.srv / "postern.conf").write_text(posterns.configuration(self.settings))
        mounts = [self.scratch / "system", "/etc/systemd/system", self.srv, "/srv",
                  self.home, "/home"]
        result = subprocess.run(
            ["unshare", "--mount", "sh", "-c", INSIDE, "sh", *mounts, "--", *before,
             posterns.BINARY, *arguments],
            env={**os.environ, **posterns.SANITIZERS}, text=True, capture_output=True,
            timeout=wait.PATIENCE * 3, check=False)
        if result.returncode == 77 or "unshare" in result.stderr:
            pytest.skip(f"no mount namespace here: {result.stderr}")
        return result

    def check(self, *arguments, **options):
        return self.run("-n", "-c", "/srv/postern.conf", *arguments, **options)


@pytest.fixture
def host(scratch, settings, certificates):
    if not os.path.isdir("/etc/systemd/system"):
        pytest.skip("no systemd here")
    return Host(scratch, settings, certificates)


@pytest.fixture
def settings():
    return {"hostname": "mail.example.org", "user": "nobody",
            "auth": {"pam_service": "login"}, "listen": {"one": {"address": "127.0.0.1:1465"}},
            "backend": {"address": "127.0.0.1:2599"}}


def warned(result, *words):
    """It can be started by root's shell, so that it is no error."""
    assert result.returncode == 0, result.stderr
    line, = result.stderr.splitlines()
    assert line.startswith("postern: warning: /srv/postern.conf:"), line
    for word in words:
        assert word in line, line
    assert result.stdout == \
        "/srv/postern.conf: good, but the systemd unit keeps something from it\n"


def silent(result):
    assert (result.returncode, result.stderr, result.stdout) == (
        0, "", "/srv/postern.conf: good\n")


def test_files_of_roots_are_fit_for_the_unit(host):
    silent(host.check())


def test_key_of_another_user_is_told_before_the_service_fails_with_it(host):
    host.key("srv/key.pem", owner=NOBODY)
    warned(host.check(), "tls: key: postern.service cannot read /srv/key.pem: it belongs to nobody "
           "(mode 0600)", "chown root /srv/key.pem", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH")


def test_directory_that_root_cannot_enter_is_named(host):
    host.settings["tls"]["key"] = host.key("srv/keys/key.pem")
    os.chown(host.srv / "keys", NOBODY, NOBODY)
    (host.srv / "keys").chmod(0o700)
    warned(host.check(), "cannot read /srv/keys/key.pem: /srv/keys belongs to nobody (mode 0700)",
           "chown root /srv/keys,")


def test_what_is_foreseen_is_what_happens(host):
    """With the capabilities of the unit, but for those of the sandbox that mounts."""
    host.key("srv/key.pem", owner=NOBODY)
    bound = ["setpriv", "--bounding-set", "-all,+setuid,+setgid,+net_bind_service",
             "--inh-caps", "-all", "--"]
    result = host.check(before=bound)
    assert result.returncode == 1
    assert "cannot read the key: Permission denied" in result.stderr


def test_link_into_a_home_is_followed(host):
    """As acme.sh keeps its certificates below /root."""
    host.key("home/acme/key.pem")
    (host.srv / "key.pem").unlink()
    (host.srv / "key.pem").symlink_to("/home/acme/key.pem")
    warned(host.check(), "tls: key: postern.service does not see /home/acme/key.pem, as it hides "
           "/home (ProtectHome=yes)")


@pytest.mark.parametrize("changes, said", [
    ({"log": {"destination": "file", "file": "/srv/log"}},
     "log: file: postern.service cannot write to /srv/log"),
    ({"admin": {"socket": "/srv/control", "group": ""}},
     "admin: socket: postern.service cannot write to /srv/control"),
    ({"backend": {"program": "/bin/true", "user": "nobody"}},
     "backend: program: postern.service cannot open backends like this, as it has no CAP_KILL"),
])
def test_what_the_unit_does_not_allow_is_told(host, changes, said):
    host.settings.update(changes)
    warned(host.check(), said)


@pytest.mark.parametrize("owner, place, drop_in", [
    (NOBODY, "srv", "CapabilityBoundingSet=CAP_DAC_READ_SEARCH"),
    (NOBODY, "srv", "CapabilityBoundingSet=CAP_CHOWN \\\n  CAP_DAC_OVERRIDE"),
    (0, "home", "ProtectHome=no"),
    (0, "home", "ProtectHome=read-only"),
])
def test_drop_in_that_allows_it_is_heard(host, owner, place, drop_in):
    host.settings["tls"]["key"] = host.key(f"{place}/key.pem", owner=owner)
    assert host.check().stderr
    host.unit(UNIT, site=drop_in)
    silent(host.check())


def test_drop_in_that_is_commented_out_is_not(host):
    host.key("srv/key.pem", owner=NOBODY)
    host.unit(UNIT, site="# CapabilityBoundingSet=CAP_DAC_READ_SEARCH")
    warned(host.check(), "cannot read /srv/key.pem")


def test_configuration_that_no_unit_runs_is_not_held_against_the_unit(host):
    host.key("srv/key.pem", owner=NOBODY)
    host.unit(UNIT.replace("postern.conf", "other.conf"))
    silent(host.check())


def test_reload_of_the_service_itself_asks_nothing_of_this(host):
    """ExecReload runs -n with the unit's rights, whatever a drop-in has made of them."""
    host.key("srv/key.pem", owner=NOBODY)
    silent(host.check(before=["setpriv", "--bounding-set", "-sys_admin", "--"]))


def test_doctor_tells_it(host):
    host.key("srv/key.pem", owner=NOBODY)
    result = host.run("doctor", "-c", "/srv/postern.conf", "--json")
    found = {each["check"]: each for each in json.loads(result.stdout)}
    assert found["unit"]["severity"] == "warning"
    assert "cannot read /srv/key.pem" in found["unit"]["message"]
    assert found["unit"]["advice"].startswith("chown root /srv/key.pem")


@pytest.mark.parametrize("unit, severity, said", [
    (UNIT, "ok", "65536 descriptors (LimitNOFILE of postern.service) are enough"),
    (UNIT.replace("LimitNOFILE=65536", "LimitNOFILE=1000"), "warning", "1000 descriptors (LimitNOFILE"),
    (UNIT.replace("postern.conf", "other.conf"), "warning", "2000 descriptors (where Postern is st"),
], ids=["shell", "unit", "elsewhere"])
def test_doctor_counts_the_descriptors_that_the_service_will_have(host, unit, severity, said):
    """Not those of the shell that it runs in, as long as nothing serves."""
    host.unit(unit)
    result = host.run("doctor", "-c", "/srv/postern.conf", "--json",
                      before=["prlimit", "--nofile=2000:2000", "--"])
    found, = [each for each in json.loads(result.stdout) if each["check"] == "descriptors"]
    assert found["severity"] == severity and said in found["message"], found


def test_setup_tells_it(host):
    host.key("srv/key.pem", owner=NOBODY)
    result = host.run("setup", "--yes", "--hostname", "mail.example.org", "--certificate",
                      "/srv/cert.pem", "--key", "/srv/key.pem", "--backend", "127.0.0.1:2599",
                      "--output", "/srv/postern.conf", "--force", write=False)
    assert "warning: /srv/postern.conf:" in result.stderr
    assert "postern.service cannot read /srv/key.pem" in result.stderr
