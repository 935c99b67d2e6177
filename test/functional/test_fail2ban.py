"""The fail2ban filter, on lines that Postern has written: it finds those who fail, at the address
where they are, and nobody can point it at somebody else."""

import os
import pathlib
import re
import subprocess

import pytest

from support import package
from support.client import plain_response

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fail2ban():
    if os.geteuid() != 0:
        pytest.skip("unpacking fail2ban needs root")
    return package.unpack("fail2ban")


@pytest.fixture
def found(fail2ban, scratch):
    """The addresses that fail2ban-regex finds in a log, one for each line that counts."""
    filter_path = scratch / "postern.conf"
    filter_path.write_text((ROOT / "etc/fail2ban/postern.filter").read_text())

    def run(log):
        said = subprocess.run(
            ["/usr/bin/python3", fail2ban / "usr/bin/fail2ban-regex", "--out", "<ip>", log,
             filter_path], capture_output=True, text=True, check=False, timeout=60,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8",
                 "PYTHONPATH": str(fail2ban / "usr/lib/python3/dist-packages")})
        assert "Traceback" not in said.stderr, said.stderr
        return [line.strip() for line in said.stdout.splitlines() if re.match(r"[\d.]+$", line)]
    return run


def attempt(postern, user, password, source):
    with postern.connect(source=source) as one:
        one.ehlo("x client=9.9.9.9".replace(" ", "_"))
        one.command(f"AUTH PLAIN {plain_response(user, password)}", 235, 535, 501, 454)


def test_failures_are_found_at_their_address(start, backend, found):
    postern = start(backend)
    attempt(postern, "alice", "wonderland", "127.0.1.1")
    attempt(postern, "alice", "wrong", "127.0.1.2")
    attempt(postern, "nobody-knows-me", "wrong", "127.0.1.3")
    postern.wait_for_record(event="login failed", user="nobody-knows-me")
    assert sorted(found(postern.log_path)) == ["127.0.1.2", "127.0.1.3"]


@pytest.mark.parametrize("user", [
    "x client=9.9.9.9 port=1 result=rejected", 'x" client=9.9.9.9 port=1 user="y',
    "x\\", 'a\\" mechanism=PLAIN result=rejected', "x client=9.9.9.9 mechanism=PLAIN result=rejected",
    'event="login failed" id=a listener=b client=9.9.9.9', "ü client=9.9.9.9", "x\u2028client=9.9.9.9"])
def test_threat_17_nobody_is_banned_for_what_another_calls_himself(start, backend, found, user):
    postern = start(backend)
    attempt(postern, user, "wrong", "127.0.1.2")
    postern.wait_for_record(event="login failed")
    assert found(postern.log_path) == ["127.0.1.2"]


def test_outage_bans_nobody(start, backend, found, pam):
    """Promise 8, for those who read the log."""
    pam.service("broken", "auth required pam_exec.so quiet /nonexistent",
                "account required pam_permit.so")
    postern = start(backend, auth={"pam_service": "broken"})
    attempt(postern, "alice", "wonderland", "127.0.1.2")
    postern.wait_for_record(event="login failed", result="unavailable")
    assert found(postern.log_path) == []


def test_those_who_are_put_off_are_found(start, backend, found):
    postern = start(backend, limits={"failed_logins": 1, "exempt": []})
    for _ in range(2):
        attempt(postern, "alice", "wrong", "127.0.1.2")
    postern.wait_for_record(event="login failed", result="put off")
    assert found(postern.log_path) == ["127.0.1.2"] * 2


def test_jail_names_the_filter_and_the_ports():
    jail = (ROOT / "etc/fail2ban/postern.jail").read_text()
    assert "[postern]" in jail and "465,587,2525" in jail
