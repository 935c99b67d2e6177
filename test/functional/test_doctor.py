"""`postern doctor`: each fault of an installation is made, and must be told with what to do."""

import contextlib
import os
import pathlib
import pwd
import resource
import socket
import subprocess
import threading

import pytest

from conftest import needs_root
from support import certificates as certificates_module
from support import dns, links, processes, wait
from support import postern as posterns
from support.doctor import examine
from support.program import Program
from support.redis import Redis

GOOD, WARNING, ERROR = 0, 1, 2


@pytest.fixture(scope="module")
def authority(work):
    directory = work / "doctor-authority"
    directory.mkdir()
    return certificates_module.Authority(directory)


@pytest.fixture(scope="module")
def server_pair(authority):
    return authority.server()


def has_login(connection):
    return connection.identity.get("LOGIN", "[UNAVAILABLE]") != "[UNAVAILABLE]"


def only_for_logins(connection, _):
    """RCPT as a good mail server answers it."""
    connection.say("250 2.1.5 Ok" if has_login(connection) else "554 5.7.1 Relay access denied")


@pytest.fixture
def names():
    """A name server that knows the hostname and where people's programs are to go."""
    made = dns.NameServer()
    made.addresses["mail.example.org"] = "192.0.2.25"
    made.names["192.0.2.25"] = "mail.example.org"
    made.services["_submissions._tcp.example.org"] = (465, "mail.example.org")
    made.services["_submission._tcp.example.org"] = (587, "mail.example.org")
    yield made
    made.close()


@pytest.fixture
def settings(server_pair, pam, backend, names):
    """A good installation, which a test spoils."""
    backend.on("RCPT", only_for_logins)
    return {
        "hostname": "mail.example.org",
        "user": "nobody",
        "nameservers": [names.address],
        "tls": server_pair,
        "listen": {"submission": {"address": f"127.0.0.1:{wait.free_port()}"}},
        "auth": {"pam_service": "users", "pam_confdir": pam.directory},
        "backend": {"address": backend.address},
        "limits": {"connections": 100},
        "admin": {"socket": ""},
    }


@pytest.fixture
def doctor(scratch, settings, authority):
    """doctor(section={…}, …) -> Findings for the settings with these changes, on a system that
    believes the tests' authority."""
    def look(run=None, **changes):
        path = scratch / "postern.conf"
        path.write_text(posterns.configuration(posterns.merge(settings, changes)))
        return examine(path, **{"believe": authority.root, **(run or {})})
    return look


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
    findings = examine(scratch / "nowhere.conf")
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


@needs_root
def test_descriptors_are_those_of_the_server_that_runs(running):
    findings = running(command=["prlimit", "--nofile=700:700"], limits={"connections": 600})
    check_fault(findings, "descriptors", "warning", "700", "LimitNOFILE=1264")


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


@pytest.mark.parametrize("option, attribute, check, said", [
    ("certificate", "expired_certificate", "certificate-validity", "expired"),
    ("certificate", "directory", "certificate", "no certificate can be read"),
    ("key", "other_key", "certificate", "does not belong"),
])
def test_bad_certificate_of_another_name_is_told(doctor, certificates, option, attribute, check,
                                                 said):
    """Threat 38: nothing stops for it."""
    pair = {"certificate": certificates.certificate, "key": certificates.key}
    findings = doctor(certificate={"bad": {**pair, option: getattr(certificates, attribute)}})
    assert sorted(findings.severities(check)) == ["error", "ok"], findings.text
    found, = [each for each in findings.of(check) if each["severity"] == "error"]
    assert said in found["message"] and str(getattr(certificates, attribute)) in found["message"]


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


def test_common_name_is_no_name_for_mail_programs(doctor, certificates):
    pair = certificates.dated("common-doctor", "20200101000000Z", "20900101000000Z",
                              alternatives=False)
    check_fault(doctor(tls={"certificate": pair, "key": certificates.key}), "certificate-name",
                "error", "mail.example.org")


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
    findings = doctor(run={"believe": certificates.certificate})
    check_fault(findings, "certificate-chain", "warning", "authority")


def test_key_of_another_certificate_is_told(doctor, certificates):
    check_fault(doctor(tls={"key": certificates.other_key}), "certificate", "error",
                certificates.other_key, "does not belong")


def test_swapped_certificate_and_key_are_one_error(doctor, certificates):
    """In the words of `postern -n`; and nobody is told to replace a key that nobody has read."""
    findings = doctor(tls={"certificate": certificates.key, "key": certificates.certificate})
    check_fault(findings, "certificate", "error", certificates.key, "are the two files swapped?",
                'exchange the values of "certificate" and "key"')
    errors = [each for each in findings.all if each["severity"] == "error"]
    assert len(errors) == 1, findings.text
    assert not findings.of("key") and "chmod" not in findings.text


def test_certificate_in_place_of_the_key_is_called_so(doctor, certificates):
    findings = doctor(tls={"key": certificates.certificate})
    check_fault(findings, "certificate", "error", certificates.certificate,
                "no usable private key in it, but a certificate", 'change "key"')
    assert not findings.of("key"), findings.text


def test_certificate_that_is_none_is_told(doctor, certificates):
    check_fault(doctor(tls={"certificate": certificates.directory}), "certificate", "error", "PEM")
    check_fault(doctor(tls={"certificate": certificates.key}), "certificate", "error",
                "no usable certificate in it, but a private key", "PEM")


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


def test_directory_is_looked_at_before_there_is_a_key_in_it(doctor, scratch):
    planned = scratch / "planned"
    planned.mkdir()
    planned.chmod(0o777)
    check_fault(doctor(tls={"key": planned / "key.pem"}), "directories", "error", planned)


def test_included_file_that_anybody_can_write_to_is_told(doctor, scratch):
    doctor()
    included = scratch / "more.conf"
    included.write_text("")
    included.chmod(0o666)
    with open(scratch / "postern.conf", "a", encoding="utf-8") as out:
        out.write('include "*e.conf"\n')
    check_fault(examine(scratch / "postern.conf"), "directories", "error", included)


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
    def look(*lines, **files):
        directory = scratch / "pam.d"
        directory.mkdir()
        for name, text in {"mail": "\n".join(lines) + "\n", **files}.items():
            (directory / name).write_text(text)
        return doctor(auth={"pam_service": "mail", "pam_confdir": directory})
    return look


def test_missing_service_is_told(doctor):
    check_fault(doctor(auth={"pam_service": "no-such-service"}), "pam-service", "error",
                "no-such-service", "log in", "share/doc/postern/postern.pam")


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


@pytest.mark.parametrize("phase, line", [
    ("auth", "auth required pam_exec.so expose_authtok {script}"),
    ("auth", "auth requisite {modules}/pam_exec.so expose_authtok {script}"),
    ("auth", "auth [success=ok default=bad] pam_exec.so expose_authtok {script}"),
    ("auth", "auth include inner"),
    ("account", "account required pam_exec.so {script}"),
])
def test_module_that_reports_refusals_as_errors_is_a_warning(service, phase, line):
    line = line.format(script="/usr/bin/false", modules="/usr/lib/x86_64-linux-gnu/security")
    findings = service("auth required pam_permit.so", line, "account required pam_permit.so",
                       inner="auth required pam_exec.so expose_authtok /usr/bin/false\n")
    check_fault(findings, "pam-refusals", "warning", "pam_exec.so", f"its {phase} lines", "454",
                f"{phase} required pam_deny.so")
    assert ("password was right" in findings.text) == (phase == "account")


@pytest.mark.parametrize("line", [
    "auth optional pam_exec.so /usr/bin/false",
    "auth [success=done default=ignore] pam_exec.so expose_authtok /usr/bin/false",
    "auth sufficient pam_exec.so expose_authtok /usr/bin/false",
    "session required pam_exec.so /usr/bin/false",
])
def test_module_whose_errors_decide_nothing_is_no_fault(service, line):
    findings = service(line, "auth required pam_unix.so", "account required pam_unix.so")
    assert findings.severities("pam-refusals") == ["ok"], findings.text


@pytest.mark.parametrize("lines, said", [
    (["auth required pam_permit.so"], "account"),
    (["account required pam_permit.so"], "auth"),
    (["auth required pam_permit.so", "nonsense"], "entry 2"),
    (["auth required pam_permit.so", "@include nowhere"], "nowhere"),
    (["auth required pam_permit.so", "@include mail"], "includes itself"),
])
def test_service_that_refuses_everybody_is_told(service, lines, said):
    check_fault(service(*lines), "pam-service", "error", said)


# the backend

# the log

@pytest.mark.skipif(os.path.exists("/run/systemd/journal/socket"), reason="there is a journal")
def test_journal_that_is_not_there(doctor):
    check_fault(doctor(log={"destination": "journal"}), "log", "warning", "no journal",
                "destination")


def test_place_of_the_log_file(doctor, scratch):
    check_fault(doctor(log={"destination": "file", "file": "/nowhere/log"}), "log", "error",
                "/nowhere/log", "mkdir")
    assert doctor(log={"destination": "file", "file": scratch / "log"}).severities("log") == ["ok"]
    assert not (scratch / "log").exists()


BACKEND_CHECKS = ("backend", "backend-identity", "backend-open-relay", "backend-local-relay")


def no_mail_was_sent(backend):
    assert not any({"DATA", "BDAT"} & set(each.verbs) for each in backend.connections)


def test_good_backend_is_left_alone_and_gets_no_mail(doctor, backend):
    findings = doctor()
    for check in BACKEND_CHECKS:
        assert findings.severities(check) == ["ok"], findings.text
    no_mail_was_sent(backend)


def test_backend_that_is_down_is_told_once(doctor):
    findings = doctor(backend={"address": f"127.0.0.1:{wait.free_port()}"})
    check_fault(findings, "backend", "error", "refused", "start the mail server")
    assert not findings.of("backend-identity")


def beside_postfix(directory, master):
    """A command to run the doctor on a host where Postfix has this master.cf."""
    (directory / "postfix").mkdir(parents=True, exist_ok=True)
    (directory / "postfix/main.cf").write_text("")
    (directory / "postfix/master.cf").write_text(master)
    return ["unshare", "--mount", "sh", "-c",
            'mount -t overlay -o "lowerdir=$0:/etc" none /etc && exec "$@"', str(directory)]


OTHER_SERVICES = """\
smtp      inet  n       -       y       -       -       smtpd
#127.0.0.1:PORT inet n - y - - smtpd
192.0.2.1:PORT inet n - y - - smtpd
127.0.0.1:1PORT inet n - y - - smtpd
127.0.0.1:PORT unix n - y - - smtpd
pickup    unix  n       -       y       60      1       pickup
  -o x=127.0.0.1:PORT
  127.0.0.1:PORT inet
"""


@needs_root
def test_missing_service_of_postfix_is_told_with_the_lines_that_make_it(doctor, scratch):
    port = wait.free_port()
    findings = doctor(
        backend={"address": f"127.0.0.1:{port}"},
        run={"command": beside_postfix(scratch / "etc", OTHER_SERVICES.replace("PORT", str(port)))})
    check_fault(findings, "backend", "error", "refused", "Postfix has no service there",
                'postern(8), "Behind Postfix on the same host"',
                f"with 127.0.0.1:{port} in place of 127.0.0.1:10025", "postfix reload")


@needs_root
@pytest.mark.parametrize("service", ["127.0.0.1:PORT", "[127.0.0.1]:PORT", "localhost:PORT", "PORT"])
def test_postfix_that_does_not_run_is_told(doctor, scratch, service):
    port = wait.free_port()
    master = OTHER_SERVICES + f"{service} inet n - y - - smtpd\n  -o mynetworks=\n"
    findings = doctor(
        backend={"address": f"127.0.0.1:{port}"},
        run={"command": beside_postfix(scratch / "etc", master.replace("PORT", str(port)))})
    check_fault(findings, "backend", "error", "refused", "/etc/postfix/master.cf has a service there",
                "postfix status", "postfix start", "postfix reload")


@needs_root
@pytest.mark.parametrize("master, said", [
    (OTHER_SERVICES, "postfix start"),
    ("pickup unix n - y 60 1 pickup\n", 'set "address" to it')])
def test_service_of_its_own_is_advised_where_port_25_is_dead(doctor, scratch, master, said):
    place = links.Namespace()
    try:
        findings = doctor(
            backend={"address": "127.0.0.1:25"},
            run={"command": [*place.command, *beside_postfix(scratch / "etc", master)]})
    finally:
        place.close()
    check_fault(findings, "backend", "error", "refused", said)
    assert "127.0.0.1:25 in place" not in findings.text


@needs_root
def test_server_of_another_kind_is_not_taken_for_the_postfix_of_this_host(doctor, scratch):
    findings = doctor(
        backend={"address": f"127.0.0.1:{wait.free_port()}", "identity": "trace"},
        run={"command": beside_postfix(scratch / "etc", OTHER_SERVICES)})
    check_fault(findings, "backend", "error", "refused", "start the mail server")


@needs_root
def test_backend_elsewhere_is_not_taken_for_the_postfix_of_this_host(doctor, scratch):
    place = links.Namespace()
    try:
        subprocess.run([*place.command, "ip", "address", "add", "192.0.2.99/32", "dev", "lo"],
                       check=True)
        findings = doctor(
            backend={"address": "192.0.2.99:10025"},
            run={"command": [*place.command, *beside_postfix(scratch / "etc", OTHER_SERVICES)]})
    finally:
        place.close()
    check_fault(findings, "backend", "error", "refused", "start the mail server")


def test_backend_that_is_silent_ends_nothing(doctor, backend):
    release = threading.Event()
    backend.on("connect", lambda connection, _: connection.hold(release))
    try:
        check_fault(doctor(), "backend", "error", "no answer in time")
    finally:
        release.set()


@pytest.mark.parametrize("greeting, said", [
    ("554 5.3.2 Not now", "554 5.3.2 Not now"),
    (lambda connection, _: connection.send(b"SSH-2.0-OpenSSH\r\n"), "not SMTP"),
    (lambda connection, _: connection.send(b"220-x\r\n" * 1000), "not SMTP"),
    (lambda connection, _: connection.send(b"x" * 100000), "not SMTP"),
    (lambda connection, _: connection.drop(), "closed"),
])
def test_backend_that_is_no_mail_server_is_told(doctor, backend, greeting, said):
    backend.on("connect", greeting)
    check_fault(doctor(), "backend", "error", said)


def test_what_a_backend_says_can_forge_no_line(doctor, backend):
    backend.on("connect", lambda connection, _: connection.send(
        b"554 no\x1b[2J\rok       backend: fine\r\n"))
    findings = doctor()
    check_fault(findings, "backend", "error", "554 no")
    assert "\x1b" not in findings.text


def test_backend_without_xclient_is_told_with_what_it_needs(doctor, backend):
    backend.attributes = None
    check_fault(doctor(), "backend-identity", "error", "does not offer XCLIENT",
                "smtpd_authorized_xclient_hosts")
    no_mail_was_sent(backend)


def test_backend_that_does_not_take_logins_is_told(doctor, backend):
    backend.attributes = "NAME ADDR"
    check_fault(doctor(), "backend-identity", "error", "LOGIN")


def test_backend_that_refuses_xclient_is_told(doctor, backend):
    backend.on("XCLIENT", "550 5.7.0 You are not allowed")
    check_fault(doctor(), "backend-identity", "error", "550 5.7.0 You are not allowed")


def test_backend_that_forgets_the_login_is_told(doctor, backend):
    backend.on("RCPT", "554 5.7.1 Relay access denied")
    check_fault(doctor(), "backend-identity", "error", "Relay access denied",
                f"{backend.address}/inet/smtpd_sasl_auth_enable=yes")
    no_mail_was_sent(backend)


@pytest.mark.parametrize("refusal", ["554 5.7.1 Relay access denied", "454 4.7.1 Relay access denied",
                                     "554 5.7.1 <x>: Recipient address rejected: Access denied"])
def test_login_that_changes_nothing_is_told(doctor, backend, refusal):
    """Whatever the words are that a stranger hears as well."""
    backend.on("RCPT", refusal)
    check_fault(doctor(), "backend-identity", "error", refusal, "libsasl2-modules")


def test_refusal_for_another_reason_is_not_called_the_trap(doctor, backend):
    """Strangers hear something else."""
    backend.on("RCPT", lambda connection, _: connection.say(
        "552 5.2.2 Quota exceeded" if has_login(connection)
        else "554 5.7.1 Relay access denied"))
    findings = doctor()
    assert findings.only("backend-identity")["severity"] == "skipped"
    assert "Quota exceeded" in findings.only("backend-identity")["message"]


@pytest.mark.parametrize("taken", [b"<postern-doctor@mail.example.org>", b"<>"])
def test_backend_that_holds_users_to_their_addresses_is_asked_with_one_that_fits(
        doctor, backend, taken):
    backend.on("MAIL", lambda connection, line: connection.say(
        "250 2.1.0 Ok" if taken in line or not has_login(connection)
        else "553 5.7.1 Sender address rejected: not owned by user"))
    assert doctor().severities("backend-identity") == ["ok"]
    no_mail_was_sent(backend)


def test_permissive_backend_is_called_an_open_relay(doctor, backend):
    backend.on("RCPT", "250 2.1.5 Ok")
    findings = doctor()
    check_fault(findings, "backend-open-relay", "error", "open relay", "reject_unauth_destination")
    check_fault(findings, "backend-local-relay", "warning", "without a login",
                "permit_mynetworks")
    no_mail_was_sent(backend)


def test_port_for_strangers_is_not_called_too_open_before_it_is_for_users(doctor, backend):
    """As port 25 of Postfix is: it relays for this host, and is not the port that Postern needs."""
    backend.attributes = None
    backend.on("RCPT", "250 2.1.5 Ok")
    findings = doctor()
    assert findings.only("backend-identity")["severity"] == "error", findings.text
    assert findings.only("backend-local-relay")["severity"] == "skipped", findings.text
    assert "permit_mynetworks" not in findings.text


@pytest.mark.parametrize("identity", ["none", "trace"])
def test_way_that_needs_a_backend_that_trusts_this_host_is_checked_for_it(
        doctor, backend, identity):
    backend.on("RCPT", "250 2.1.5 Ok")
    findings = doctor(backend={"identity": identity})
    assert findings.only("backend-identity")["severity"] == "ok", findings.text
    assert findings.only("backend-local-relay")["severity"] == "note"
    backend.on("RCPT", "550 5.7.1 Relaying denied")
    check_fault(doctor(backend={"identity": identity}), "backend-identity", "error",
                "Relaying denied", "let it relay for this host")


def test_login_with_each_message_is_tried(doctor, backend):
    senders = []
    backend.on("MAIL", lambda connection, line: (senders.append(line), connection.say("250 Ok")))
    backend.on("RCPT", lambda connection, _: connection.say(
        "250 Ok" if b"AUTH=" in senders[-1] else "550 relay not permitted"))
    findings = doctor(backend={"identity": "auth-param"})
    assert findings.severities("backend-identity") == ["ok"], findings.text
    assert findings.severities("backend-local-relay") == ["ok"], findings.text


def test_proxy_header_is_tried(doctor, backend):
    def greet(connection, _):
        assert connection._line().startswith(b"PROXY ")
        connection.say("220 fake.test ESMTP")
    backend.on("connect", greet)
    backend.on("RCPT", "250 2.1.5 Ok")
    findings = doctor(backend={"identity": "proxy-v1"})
    assert findings.severities("backend-identity") == ["ok"], findings.text
    assert findings.severities("backend-open-relay") == ["note"], findings.text


def test_port_that_expects_no_proxy_header_is_told(doctor, backend):
    check_fault(doctor(backend={"identity": "proxy-v2"}), "backend", "error", "PROXY header")


def test_wrong_certificate_of_a_backend_is_told(doctor, authority, server_pair):
    check_fault(doctor(backend={"tls": "starttls"}), "backend", "error",
                "does not offer STARTTLS", "section backend")


@pytest.fixture
def program(scratch):
    return Program(scratch / "program")


def as_program(program, **keys):
    return {"address": None, "program": program.line("-oMa %{address} -oMai %{login}"),
            "user": "daemon" if os.geteuid() == 0 else "", **keys}


def test_program_is_started_as_its_user_and_gets_no_mail(doctor, program):
    findings = doctor(backend=as_program(program))
    assert findings.severities("backend") == findings.severities("backend-identity") == ["ok"], \
        findings.text
    assert all(each.arguments == ["-oMa", "192.0.2.1", "-oMai", "postern-doctor"]
               and not each.messages for each in program.all)
    if os.geteuid() == 0:
        daemon = pwd.getpwnam("daemon").pw_uid
        assert program.all[0].ids[0] == [daemon] * 3


def test_program_that_does_not_end_is_ended(doctor, program):
    program.tell("hang")
    assert doctor(backend=as_program(program)).severities("backend") == ["ok"]
    wait.until(lambda: not any(processes.alive(each.pid) for each in program.all),
               "the end of all programs")


def test_program_that_cannot_run_is_told(doctor, program):
    program.path.write_text("#!/no/such/interpreter\n")
    findings = doctor(backend=as_program(program))
    check_fault(findings, "backend", "error", "cannot be started", "program")


# a real Postfix

@pytest.fixture
def real(doctor):
    """real(postfix) -> Findings, when it is the backend."""
    return lambda postfix: doctor(backend={"address": "%s:%d" % postfix.address})


def test_postfix_of_the_example_is_good(real, postfix):
    findings = real(postfix)
    for check in BACKEND_CHECKS:
        assert findings.severities(check) == ["ok"], findings.text


@pytest.mark.parametrize("setting, mends", [
    ({"smtpd_sasl_auth_enable": "no"}, "smtpd_sasl_auth_enable=yes"),
    ({"smtpd_tls_auth_only": "yes"}, "smtpd_tls_auth_only=no"),
    ({"smtpd_tls_security_level": "encrypt"}, "smtpd_tls_security_level=none"),
    ({"smtpd_relay_restrictions": "reject_unauth_destination"},
     "smtpd_relay_restrictions=permit_sasl_authenticated,reject"),
    ({"smtpd_authorized_xclient_hosts": ""}, "smtpd_authorized_xclient_hosts=127.0.0.1"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_postfix_that_takes_no_login_is_told_with_the_line_that_mends_it(real, postfix_with, setting,
                                                                         mends):
    server = postfix_with(**setting)
    check_fault(real(server), "backend-identity", "error", "postconf -Pe",
                "%s:%d/inet/%s" % (*server.address, mends), "postfix reload")


def test_postfix_without_a_sasl_mechanism_is_told(real, postfix_with):
    check_fault(real(postfix_with(smtpd_sasl_security_options="noanonymous, noplaintext")),
                "backend", "error", "no greeting",
                "apt-get install libsasl2-modules, then postfix stop and postfix start")


def test_postfix_that_holds_users_to_their_addresses_is_good(real, postfix_with, scratch):
    (scratch / "senders").write_text("alice@mail.test alice\n")
    findings = real(postfix_with(smtpd_sender_restrictions="reject_sender_login_mismatch",
                                 smtpd_sender_login_maps=f"texthash:{scratch}/senders"))
    assert findings.severities("backend-identity") == ["ok"], findings.text


@needs_root
def test_port_for_strangers_is_not_to_be_changed(doctor):
    """Port 25, in a network where it is free: it is given a service beside it."""
    place = links.Namespace()
    with place.inside():
        server = socket.create_server(("127.0.0.1", 25))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                one, _ = server.accept()
                one.sendall(b"220 x ESMTP Postfix\r\n")
                while one.recv(1000):
                    one.sendall(b"250 x\r\n")
    threading.Thread(target=serve, daemon=True).start()
    try:
        findings = doctor(backend={"address": "127.0.0.1:25"}, run={"command": place.command})
    finally:
        server.shutdown(socket.SHUT_RDWR)
        place.close()
    check_fault(findings, "backend-identity", "error", "postern(8) shows the lines")
    assert "postconf" not in findings.text and "postern setup" not in findings.text


def test_postfix_that_trusts_this_host_is_told(real, postfix_with):
    findings = real(postfix_with(
        mynetworks="127.0.0.1/32",
        smtpd_relay_restrictions="permit_mynetworks, permit_sasl_authenticated, "
                                 "reject_unauth_destination"))
    check_fault(findings, "backend-local-relay", "warning", "permit_mynetworks")
    assert findings.severities("backend-open-relay") == ["ok"]


def test_postfix_that_trusts_everybody_is_told(real, postfix_with):
    findings = real(postfix_with(
        mynetworks="0.0.0.0/0",
        smtpd_relay_restrictions="permit_mynetworks, reject_unauth_destination"))
    check_fault(findings, "backend-open-relay", "error", "open relay")


# ports and listeners

def listening(socket_of_test):
    return {"listen": {"submission": {"address": "127.0.0.1:%d" % socket_of_test.getsockname()[1]}}}


def test_free_port_is_called_free(doctor):
    findings = doctor()
    assert findings.only("port")["severity"] == "ok"
    assert "free" in findings.only("port")["message"]
    assert findings.severities("listener-open-relay") == ["skipped"]


def test_taken_port_is_told_with_who_has_it(doctor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        name = pathlib.Path("/proc/self/comm").read_text().strip()
        check_fault(doctor(**listening(taken)), "port", "error", name, f"(process {os.getpid()})")


def test_listeners_that_cannot_be_bound_beside_each_other_are_told(doctor):
    port = wait.free_port()
    findings = doctor(listen={"one": {"address": f"0.0.0.0:{port}"},
                              "two": {"address": f"127.0.0.1:{port}"}})
    assert 'listen "two"' in findings.only("port-overlap")["message"]
    assert findings.status == ERROR


def test_port_taken_on_all_addresses_is_told(doctor):
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        check_fault(doctor(**listening(taken)), "port", "error", f"(process {os.getpid()})")


@needs_root
def test_port_that_postfix_has_is_told_with_what_to_change(doctor, postfix):
    findings = doctor(listen={"submission": {"address": "%s:%d" % postfix.address}},
                      backend={"address": "127.0.0.1:1"})
    check_fault(findings, "port", "error", "master", "master.cf")


def test_address_that_is_not_of_this_host_is_told(doctor):
    check_fault(doctor(listen={"submission": {"address": f"192.0.2.9:{wait.free_port()}"}}),
                "port", "error", "192.0.2.9", "address of this host")


@pytest.fixture
def running(start, backend, settings, authority):
    """running(…) -> the Findings of a Postern that serves with these settings."""
    def look(**changes):
        front = start(backend, hostname="mail.example.org", tls=settings["tls"], **changes)
        look.again = lambda: examine(front.configuration_path, believe=authority.root)
        return look.again()
    return look


def test_running_server_is_asked_and_relays_for_nobody(running, backend):
    findings = running()
    assert findings.severities("port") == ["ok", "ok"], findings.text
    assert all("Postern listens" in each["message"] for each in findings.of("port"))
    assert findings.severities("listener-open-relay") == ["ok", "ok"], findings.text
    no_mail_was_sent(backend)


def test_server_that_shows_an_old_certificate_is_told(running, settings, certificates, scratch):
    """It was renewed, and nobody has reloaded."""
    certificate, key = certificates.install("good", scratch)
    settings["tls"] = {"certificate": certificate, "key": key}
    assert running().severities("certificate-served") == ["ok", "ok"]
    certificates.install("other", scratch)
    findings = running.again()
    assert findings.severities("certificate-served") == ["warning", "warning"]
    check_fault(findings, "certificate-served", "warning", "reload")


def test_server_is_not_to_be_reloaded_for_swapped_files(running, settings, certificates, scratch):
    """It shows a good certificate; what the files have could not be loaded."""
    certificate, key = certificates.install("good", scratch)
    settings["tls"] = {"certificate": certificate, "key": key}
    running()
    certificate.rename(scratch / "other.pem")
    key.rename(certificate)
    (scratch / "other.pem").rename(key)
    findings = running.again()
    assert findings.severities("certificate-served") == ["skipped", "skipped"], findings.text
    assert "compared" in findings.of("certificate-served")[0]["message"]


def test_listener_behind_a_balancer_is_asked_as_a_stranger(running):
    port = wait.free_port()
    findings = running(listen={"balanced": {
        "address": f"127.0.0.1:{port}", "proxy_protocol": ["127.0.0.0/8"]}})
    assert findings.severities("listener-open-relay") == ["ok"], findings.text


def test_mx_that_takes_everything_is_told(running, backend):
    backend.on("RCPT", "250 2.1.5 Ok")
    port = wait.free_port()
    findings = running(listen={"mx": {"address": f"127.0.0.1:{port}", "role": "mx",
                                      "proxy_protocol": ["127.0.0.0/8"]}})
    check_fault(findings, "listener-open-relay", "error", "open relay", "recipients")
    no_mail_was_sent(backend)


def test_mx_with_recipients_is_good(running, backend):
    backend.on("RCPT", "250 2.1.5 Ok")
    port = wait.free_port()
    findings = running(listen={"mx": {"address": f"127.0.0.1:{port}", "role": "mx",
                                      "recipients": ["mail.test"]}})
    assert findings.severities("listener-open-relay") == ["ok"], findings.text


def test_listener_that_nobody_answers_does_not_hold_it_up(doctor):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert doctor(**listening(silent)).severities("listener-open-relay") == ["skipped"]


# what is shared

@pytest.fixture
def redis(scratch):
    made = Redis(scratch / "redis", "--requirepass", "sesame")
    yield made
    made.stop()


def test_redis_that_answers_is_left_alone(doctor, redis):
    findings = doctor(limits={"shared": redis.url(":sesame")})
    assert findings.severities("shared") == ["ok"], findings.text


@pytest.mark.parametrize("login", ["", ":wrong"])
def test_redis_that_lets_nobody_in_is_told(doctor, redis, login):
    findings = doctor(limits={"shared": redis.url(login)})
    check_fault(findings, "shared", "warning", "password")
    assert "wrong" not in findings.only("shared")["message"].replace("WRONGPASS", "")


def test_redis_that_is_down_is_told(doctor):
    check_fault(doctor(limits={"shared": f"redis://127.0.0.1:{wait.free_port()}"}), "shared", "warning",
                "refused", "counts for itself")


def test_password_that_everybody_can_read_is_told_and_not_shown(doctor, scratch):
    findings = doctor(limits={"shared": f"redis://:hunter2@127.0.0.1:{wait.free_port()}"})
    check_fault(findings, "configuration-secret", "error", "chmod 0600")
    assert "hunter2" not in findings.text
    (scratch / "postern.conf").chmod(0o600)
    assert not examine(scratch / "postern.conf").of("configuration-secret")


def test_password_in_an_included_file_that_everybody_can_read_is_told(doctor, scratch):
    doctor()
    included = scratch / "more.conf"
    included.write_text(f'limits {{ shared = "redis://:hunter2@127.0.0.1:{wait.free_port()}" }}\n')
    with open(scratch / "postern.conf", "a", encoding="utf-8") as out:
        out.write(f'include "{included}"\n')
    (scratch / "postern.conf").chmod(0o600)
    check_fault(examine(scratch / "postern.conf"), "configuration-secret", "error", included)
    included.chmod(0o600)
    assert not examine(scratch / "postern.conf").of("configuration-secret")


def test_missing_group_of_the_control_socket_is_told(doctor, scratch):
    check_fault(doctor(admin={"socket": scratch / "control", "group": "no-such-group"}), "admin",
                "warning", "groupadd --system no-such-group")


# the DNS

def test_good_names_are_left_alone(doctor):
    findings = doctor()
    assert "192.0.2.25" in findings.only("dns")["message"]
    assert findings.severities("dns") == findings.severities("dns-reverse") == ["ok"]
    assert findings.severities("dns-services") == ["ok", "ok"], findings.text


def test_hostname_that_nobody_finds_is_told(doctor, names):
    names.addresses.clear()
    check_fault(doctor(), "dns", "warning", "mail.example.org", "A or AAAA")


@pytest.mark.parametrize("name, said", [(None, "has no name"), ("host-25.isp.test", "host-25")])
def test_address_that_leads_elsewhere_is_told(doctor, names, name, said):
    names.names["192.0.2.25"] = name
    check_fault(doctor(), "dns-reverse", "warning", "192.0.2.25", said)


def test_missing_service_records_are_for_information(doctor, names):
    names.services.clear()
    findings = doctor()
    assert findings.severities("dns-services") == ["note", "note"]
    assert "SRV 0 1 465 mail.example.org." in findings.text
    assert findings.status == GOOD, findings.text


def test_silent_name_server_holds_nothing_up(doctor, names):
    names.silent = True
    findings = doctor()
    assert findings.severities("dns") == ["skipped"]
    assert len(names.asked) == 1, "it was asked again"
    assert findings.status == GOOD, findings.text


# all of it

def test_good_installation_has_nothing_to_be_told(doctor):
    findings = doctor()
    assert findings.status == GOOD, findings.text
    assert not {"warning", "error"} & {each["severity"] for each in findings.all}


@needs_root
def test_without_root_it_says_what_it_left_out(doctor, scratch, authority):
    doctor()
    nobody = pwd.getpwnam("nobody").pw_uid
    findings = examine(scratch / "postern.conf", believe=authority.root, user=nobody,
                       group=nobody, extra_groups=[],
                       binary=posterns.for_everybody(posterns.BINARY, scratch))
    assert findings.only("certificate")["severity"] == "skipped", findings.text
    assert "only root" in findings.only("certificate")["message"]
    assert findings.severities("backend-identity") == ["ok"]
