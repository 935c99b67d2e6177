"""meson install: everything in its place, and no edited file overwritten."""

import os
import pathlib
import re
import subprocess

import pytest

from support.postern import BINARY

BUILD = pathlib.Path(BINARY).parent


@pytest.fixture
def install(scratch):
    """Installs below a directory; returns the installed prefix and sysconfdir."""
    if not (BUILD / "build.ninja").exists():
        pytest.skip("the binary is not in a build directory")

    def install_there():
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild"], check=True,
                       capture_output=True, env={**os.environ, "DESTDIR": str(scratch)})
        return scratch / "usr/local"
    return install_there


def test_all_is_in_its_usual_place(install):
    prefix = install()
    for path in ("sbin/postern", "etc/postern/postern.conf", "etc/pam.d/postern",
                 "lib/systemd/system/postern.service", "share/man/man8/postern.8",
                 "share/man/man5/postern.conf.5", "share/man/man7/postern-metrics.7",
                 "share/man/man8/posternctl.8", "bin/posternctl",
                 "share/bash-completion/completions/posternctl",
                 "share/zsh/vendor-completions/_posternctl",
                 "share/doc/postern/monitoring/alerts.yml", "share/doc/postern/fail2ban/postern.filter",
                 "share/doc/postern/fail2ban/postern.jail",
                 "share/doc/postern/postern.conf", "share/doc/postern/postern.pam"):
        assert (prefix / path).is_file(), path
    assert os.access(prefix / "sbin/postern", os.X_OK)


def test_installed_files_speak_of_installed_places(install):
    prefix = install()
    for path in ("lib/systemd/system/postern.service", "share/man/man8/postern.8",
                 "share/man/man5/postern.conf.5"):
        text = (prefix / path).read_text()
        assert not re.search(r"@\w+@", text), path
    service = (prefix / "lib/systemd/system/postern.service").read_text()
    assert "/usr/local/sbin/postern" in service


def test_edited_files_are_not_overwritten(install):
    prefix = install()
    edited = [prefix / "etc/postern/postern.conf", prefix / "etc/pam.d/postern"]
    for path in edited:
        path.write_text("edited\n")
    install()
    assert [path.read_text() for path in edited] == ["edited\n"] * 2


def test_uninstall_leaves_what_may_be_edited(install):
    prefix = install()
    made = [path for path in prefix.rglob("*") if path.is_file()]
    subprocess.run(["ninja", "-C", BUILD, "uninstall"], check=True, capture_output=True)
    left = {str(path.relative_to(prefix)) for path in made if path.exists()}
    assert left == {"etc/postern/postern.conf", "etc/pam.d/postern", "etc/logrotate.d/postern",
                    "etc/apparmor.d/postern"}
