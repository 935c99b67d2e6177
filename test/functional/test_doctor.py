"""`postern doctor`: each fault of an installation is made, and must be told with what to do."""

import json
import os
import pwd
import resource

import pytest

from conftest import needs_root
from support import certificates as certificates_module
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


@pytest.fixture(scope="module")
def authority(work):
    directory = work / "authority"
    directory.mkdir()
    return certificates_module.Authority(directory)


@pytest.fixture(scope="module")
def server_pair(authority):
    return authority.server()


@pytest.fixture
def settings(server_pair, pam, backend):
    """A good installation, which a test spoils."""
    return {
        "hostname": "mail.example.org",
        "user": "nobody",
        "tls": server_pair,
        "listen": {"submission": {"address": f"127.0.0.1:{wait.free_port()}"}},
        "auth": {"pam_service": "users", "pam_confdir": pam.directory},
        "backend": {"address": backend.address},
        "limits": {"connections": 100},
    }


@pytest.fixture
def doctor(scratch, settings, authority):
    """doctor(section={…}, …) -> Findings for the settings with these changes, on a system that
    believes the tests' authority."""
    def examine(run=None, **changes):
        path = scratch / "postern.conf"
        path.write_text(posterns.configuration(posterns.merge(settings, changes)))
        return Findings(posterns.run("doctor", "--json", "-c", path, **{
            "environment": {"SSL_CERT_FILE": str(authority.root)}, **(run or {})}))
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


def test_lines_for_people_say_the_same(doctor, scratch, authority):
    findings = doctor()
    lines = posterns.run("doctor", "-c", scratch / "postern.conf",
                         environment={"SSL_CERT_FILE": str(authority.root)}).stdout.splitlines()
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


# certificates and keys

CERTIFICATE_CHECKS = ("certificate", "certificate-validity", "certificate-name",
                      "certificate-chain", "key", "directories")


def test_good_certificate_is_left_alone(doctor):
    findings = doctor()
    for check in CERTIFICATE_CHECKS:
        assert findings.severities(check) == ["ok"], findings.text
    assert findings.of("certificate-renewal") == []


def test_expired_certificate_is_told(doctor, certificates):
    findings = doctor(tls={"certificate": certificates.expired_certificate,
                           "key": certificates.key})
    check_fault(findings, "certificate-validity", "error", "expired", "renew")


def test_certificate_of_tomorrow_is_told(doctor, certificates):
    findings = doctor(tls={"certificate": certificates.future_certificate,
                           "key": certificates.key})
    check_fault(findings, "certificate-validity", "error", "not valid yet", "clock")


def test_certificate_that_ends_soon_is_a_warning(doctor, authority):
    findings = doctor(tls=authority.server(days=5))
    check_fault(findings, "certificate-renewal", "warning", "days", "renew")
    assert findings.of("certificate-validity") == []


def test_wrong_name_is_told(doctor, authority):
    pair = authority.server("www.example.org")
    check_fault(doctor(tls=pair), "certificate-name", "error", "mail.example.org")


def test_name_in_a_further_certificate_will_do(doctor, authority, server_pair):
    findings = doctor(tls=authority.server("shop.example.org"),
                      certificate={"mail": server_pair})
    assert findings.severities("certificate-name") == ["note", "ok"], findings.text


def test_self_signed_certificate_is_called_so(doctor, certificates):
    findings = doctor(tls={"certificate": certificates.certificate, "key": certificates.key})
    check_fault(findings, "certificate-chain", "warning", "self-signed", "authority")


def test_missing_intermediate_is_told(doctor, authority):
    findings = doctor(tls=authority.server("mail.example.org", 60, chain=False))
    check_fault(findings, "certificate-chain", "warning", "not complete", "fullchain.pem")


def test_unknown_authority_is_told(doctor, certificates):
    findings = doctor(run={"environment": {"SSL_CERT_FILE": str(certificates.certificate)}})
    check_fault(findings, "certificate-chain", "warning", "authority")


def test_key_of_another_certificate_is_told(doctor, certificates):
    check_fault(doctor(tls={"key": certificates.other_key}), "certificate", "error",
                certificates.other_key, "does not belong")


def test_certificate_that_is_none_is_told(doctor, certificates):
    check_fault(doctor(tls={"certificate": certificates.key}), "certificate", "error", "PEM")


def test_world_readable_key_is_told(doctor, certificates):
    findings = doctor(tls={"certificate": certificates.certificate,
                           "key": certificates.readable_key})
    check_fault(findings, "key", "error", "0644", "chmod 0600")


@needs_root
def test_key_that_the_reactor_can_read_is_told(doctor, certificates, scratch):
    _, key = certificates.install("good", scratch)
    os.chown(key, 0, pwd.getpwnam("nobody").pw_gid)
    key.chmod(0o640)
    check_fault(doctor(tls={"key": key}), "key", "error", "nobody", "chmod 0600")


@needs_root
def test_key_of_somebody_else_is_told(doctor, certificates, scratch):
    _, key = certificates.install("good", scratch)
    os.chown(key, pwd.getpwnam("games").pw_uid, 0)
    check_fault(doctor(tls={"key": key}), "key", "error", "not to root", "chown root")


def test_directory_that_anybody_can_write_to_is_told(doctor, certificates, scratch):
    open_directory = scratch / "open"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    certificate, key = certificates.install("good", open_directory)
    check_fault(doctor(tls={"certificate": certificate, "key": key}), "directories", "error",
                open_directory, "chmod go-w")


def test_no_key_is_ever_shown(doctor, server_pair):
    findings = doctor()
    secret = server_pair["key"].read_text().splitlines()[1]
    assert secret not in findings.text
    assert "PRIVATE" not in findings.text


# PAM

def test_good_service_is_left_alone(doctor):
    findings = doctor()
    assert findings.severities("pam-service") == findings.severities("pam-modules") == ["ok"]


@pytest.fixture
def service(scratch, pam, doctor):
    """service("auth …", …) -> Findings with these lines as the service."""
    def examine(*lines, **files):
        directory = scratch / "pam.d"
        directory.mkdir()
        for name, text in {"mail": "\n".join(lines) + "\n", **files}.items():
            (directory / name).write_text(text)
        return doctor(auth={"pam_service": "mail", "pam_confdir": directory})
    return examine


def test_missing_service_is_told(doctor):
    check_fault(doctor(auth={"pam_service": "no-such-service"}), "pam-service", "error",
                "no-such-service", "log in")


def test_missing_module_is_told(service):
    check_fault(service("auth required no_such_module.so", "account required pam_permit.so"),
                "pam-modules", "error", "no_such_module.so", "install")


def test_module_that_is_no_module_is_told(service, scratch):
    (scratch / "pam_text.so").write_text("not a library")
    check_fault(service(f"auth [success=1 default=ignore] {scratch}/pam_text.so",
                        "account required pam_permit.so"),
                "pam-modules", "error", "pam_text.so")


@pytest.mark.parametrize("line", ["@include inner", "auth include inner", "auth substack inner",
                                  "AUTH  Include\tinner # comment", "auth \\\n include inner"])
def test_missing_module_of_an_included_file_is_told(service, line):
    findings = service(line, "account required pam_permit.so",
                       inner="# inner\nauth required no_such_module.so\n")
    check_fault(findings, "pam-modules", "error", "no_such_module.so")
    assert findings.severities("pam-service") == ["ok"], findings.text


def test_module_of_sessions_or_one_that_may_be_missing_is_no_fault(service):
    findings = service("-auth optional no_such_module.so", "auth required pam_permit.so",
                       "account required pam_permit.so", "session required no_such_module.so",
                       "session include nowhere")
    assert findings.severities("pam-service") == findings.severities("pam-modules") == ["ok"], \
        findings.text


@pytest.mark.parametrize("lines, said", [
    (["auth required pam_permit.so"], "account"),
    (["account required pam_permit.so"], "auth"),
    (["auth required pam_permit.so", "nonsense"], "entry 2"),
    (["auth required pam_permit.so", "@include nowhere"], "nowhere"),
    (["auth required pam_permit.so", "@include mail"], "includes itself"),
])
def test_service_that_refuses_everybody_is_told(service, lines, said):
    check_fault(service(*lines), "pam-service", "error", said)
