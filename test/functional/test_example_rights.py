"""What the examples of programs say about systemd and AppArmor fits them, as far as that can be tried
without either. That a program works with these rights is in test_exim, test_courier, test_qmail."""

import re

import pytest

from support import example, pages, systemd
from support.apparmor import Profile

#: Directory of the example, which of the manual's parts it needs.
PROGRAMS = {
    "exim/program": ["backends that are programs", "and are set-ID root"],
    "courier": ["backends that are programs"],
    "qmail": ["backends that are programs"],
}
every_program = pytest.mark.parametrize("name", PROGRAMS)


def program(name):
    return re.search(r'program +\= "(\S+?)[ "]', example.text(f"{name}/postern.conf", {}))[1]


@every_program
def test_drop_in_of_the_example_is_what_the_manual_says(name):
    """But for the directories that may be written to."""
    shown = example.drop_in(name)
    manual = systemd.drop_in(*PROGRAMS[name])
    for key in ("CapabilityBoundingSet", "NoNewPrivileges"):
        assert set(systemd.values(shown, key)) == set(systemd.values(manual, key))
    others = re.sub(r"^(#.*|\[Service\]|(CapabilityBoundingSet|ReadWritePaths)=.*)\n", "", shown,
                    flags=re.MULTILINE)
    assert set(others.splitlines()) <= set(manual.splitlines())
    assert systemd.values(shown, "ReadWritePaths")


def test_drop_in_for_transparent_connections_is_the_manuals():
    shown = example.drop_in("sendmail/transparent")
    assert re.sub("^#.*\n", "", shown, flags=re.MULTILINE) == \
        "[Service]\n" + systemd.drop_in('identity = "transparent"')


@every_program
def test_local_profile_of_the_example_lets_its_program_run(name, scratch):
    text = (pages.ROOT / "etc/postern.apparmor.in").read_text().replace(
        "@sbindir@", "/usr/sbin").replace("@sysconfdir@", "/etc")
    local = example.text(f"{name}/apparmor", {})
    (scratch / "postern").write_text(text)
    assert not Profile(scratch / "postern").allows(program(name), "x")
    (scratch / "local").mkdir()
    (scratch / "local/postern").write_text(local)
    profile = Profile(scratch / "postern", scratch)
    profile.compile()
    assert profile.allows(program(name), "x")
    assert not profile.allows("/bin/sh", "x")
