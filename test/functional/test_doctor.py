"""`postern doctor`: each fault of an installation is made, and must be told with what to do."""

import json
import resource

import pytest

from support import postern as posterns
from support import wait

GOOD, WARNING, ERROR = 0, 1, 2


class Findings:
    """What `postern doctor --json` has found."""

    def __init__(self, result):
        self.status = result.returncode
        self.text = result.stdout + result.stderr
        self.all = json.loads(result.stdout)

    def of(self, check):
        return [each for each in self.all if each["check"] == check]

    def only(self, check):
        found = self.of(check)
        assert len(found) == 1, self.text
        return found[0]

    def severities(self, check):
        return [each["severity"] for each in self.of(check)]


@pytest.fixture
def settings(certificates, pam, backend):
    """A good installation, which a test spoils."""
    return {
        "hostname": "mail.example.org",
        "user": "nobody",
        "tls": {"certificate": certificates.certificate, "key": certificates.key},
        "listen": {"submission": {"address": f"127.0.0.1:{wait.free_port()}"}},
        "auth": {"pam_service": "users", "pam_confdir": pam.directory},
        "backend": {"address": backend.address},
        "limits": {"connections": 100},
    }


@pytest.fixture
def doctor(scratch, settings):
    """doctor(section={…}, …) -> Findings for the settings with these changes."""
    def examine(*arguments, run=None, **changes):
        path = scratch / "postern.conf"
        path.write_text(posterns.configuration(posterns.merge(settings, changes)))
        return Findings(posterns.run("doctor", "--json", "-c", path, *arguments, **(run or {})))
    return examine


def check_fault(findings, check, severity, *words):
    """There is such a finding, it says these words, and it says what to do."""
    found = [each for each in findings.of(check) if each["severity"] == severity]
    assert found, findings.text
    said = found[0]["message"] + " -> " + found[0]["advice"]
    for word in words:
        assert str(word) in said, findings.text
    assert findings.status == {"warning": WARNING, "error": ERROR}[severity] \
        or findings.status == ERROR


# the command

@pytest.mark.parametrize("arguments", [["-x"], ["--no-such"], ["superfluous"], ["-c"]])
def test_wrong_option_is_not_taken_for_health(arguments):
    result = posterns.run("doctor", *arguments)
    assert result.returncode == ERROR
    assert "usage: postern doctor" in result.stderr


def test_configuration_that_cannot_be_read_is_an_error_and_the_rest_is_checked(scratch):
    findings = Findings(posterns.run("doctor", "--json", "-c", scratch / "nowhere.conf"))
    check_fault(findings, "configuration", "error", scratch / "nowhere.conf")
    assert findings.severities("clock") == ["ok"]


def test_lines_for_people_say_the_same(doctor, scratch):
    findings = doctor()
    lines = posterns.run("doctor", "-c", scratch / "postern.conf").stdout.splitlines()
    assert len(lines) == len(findings.all) + 1
    for line, finding in zip(lines, findings.all):
        assert line.startswith(f"{finding['severity']:8} {finding['check']}: ")


# the host

def test_missing_user_is_told_with_the_command_that_makes_it(doctor):
    check_fault(doctor(user="no-such-user"), "user", "error", "no-such-user", "useradd --system")


def test_too_few_descriptors_are_told(doctor):
    findings = doctor(limits={"connections": 5000}, run={
        "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))})
    check_fault(findings, "descriptors", "warning", "512", "LimitNOFILE=")


def test_clock_is_looked_at(doctor):
    assert doctor().severities("clock") == ["ok"]
