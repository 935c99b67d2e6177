"""`postern doctor --login USER`: a real login from the first byte to RCPT, and what it says of each
step that fails."""

import json
import os
import pty
import re
import subprocess

import pytest

from conftest import needs_root
from support import postern as posterns
from support import wait
from support.doctor import Findings

GOOD, WARNING, ERROR = 0, 1, 2
USER, PASSWORD = "alice", "wonderland"


@pytest.fixture
def log_in(certificates):
    """log_in(postern, user, password, …) -> Findings."""
    def look(postern, user=USER, password=PASSWORD, *flags, status=None, believe=True):
        environment = {**os.environ, **posterns.SANITIZERS}
        if believe:
            environment["SSL_CERT_FILE"] = str(certificates.certificate)
        result = subprocess.run(
            [posterns.BINARY, "doctor", "--json", "-c", postern.configuration_path, "--login", user,
             *flags], input=password + "\n", env=environment, text=True, capture_output=True,
            timeout=wait.PATIENCE * 3, check=False)
        assert password not in result.stdout + result.stderr
        findings = Findings(result)
        assert status is None or findings.status == status, findings.text
        return findings
    return look


def only(findings, severity, *words):
    found = findings.only("login")
    assert found["severity"] == severity, findings.text
    text = found["message"] + " -> " + found.get("advice", "")
    for word in words:
        assert word in text, text
    return found


def test_login_is_tried_at_each_listener_and_no_message_is_sent(start, backend, log_in):
    postern = start(backend)
    findings = log_in(postern, status=GOOD)
    assert [each["message"].split(":")[0] for each in findings.of("login")] == \
        ["submissions", "submission"]
    for found in findings.of("login"):
        assert found["severity"] == "ok"
        assert "alice logs in under TLS (TLSv1.3), and may send from " \
            "alice@mail.example.org to elsewhere" in found["message"]
    for number in (0, 1):
        session = backend.session(number)
        assert session.identity["LOGIN"] == "alice"
        assert b"MAIL FROM:<alice@mail.example.org>" in session.commands
        assert not {b"DATA", b"BDAT"} & {each.split(b" ")[0] for each in session.commands}
        assert b"RSET" in session.commands


def test_nothing_else_is_looked_at(start, backend, log_in):
    findings = log_in(start(backend))
    assert {each["check"] for each in findings.all} == {"configuration", "login"}


def test_user_with_an_address_for_a_name_sends_from_it(start, backend, log_in):
    log_in(start(backend), "dave@mail.test", "correct horse battery staple", status=GOOD)
    assert b"MAIL FROM:<dave@mail.test>" in backend.session().commands


def test_sender_can_be_named(start, backend, log_in):
    log_in(start(backend), USER, PASSWORD, "--from", "info@mail.test", status=GOOD)
    assert b"MAIL FROM:<info@mail.test>" in backend.session().commands


def test_mechanism_is_one_that_is_offered(start, backend, log_in):
    postern = start(backend, auth={"mechanisms": ["LOGIN"]})
    assert log_in(postern, status=GOOD).severities("login") == ["ok", "ok"]


def test_wrong_password_is_told_and_tried_once(start, backend, log_in):
    """A password that is wrong at one listener is wrong at the next, and counts."""
    postern = start(backend)
    found = only(log_in(postern, USER, "wrong-password", status=ERROR), "error",
                 "submissions: the login is refused: 535", 'event="login failed"', "PAM")
    assert "user name" in found["advice"]
    assert len(postern.find_records(event="login failed")) == 1


@needs_root
@pytest.mark.parametrize("service, user, told", [
    ("unix", "no-such-user", True), ("unix", "nobody", False), ("users", "no-such-user", False)])
def test_root_is_told_that_the_host_has_no_such_account(start, backend, log_in, service, user, told):
    """Only where accounts are what PAM asks for; a client learns nothing of it."""
    found = only(log_in(start(backend, auth={"pam_service": service}), user, "wrong-password",
                        status=ERROR), "error", "the login is refused: 535")
    assert (f'there is no account "{user}" on this host' in found["advice"]) == told, found
    assert "account" not in found["message"]


@needs_root
def test_name_with_a_domain_is_told_where_accounts_have_none(start, backend, log_in):
    """As mail programs suggest it."""
    found = only(log_in(start(backend, auth={"pam_service": "unix"}), "nobody@example.org",
                        "wrong-password", status=ERROR), "error", "the login is refused: 535")
    assert "without @ and a domain" in found["advice"] and "adduser" not in found["advice"]


@pytest.mark.parametrize("settings, words", [
    ({"auth": {"pam_service": "broken"}}, ["454 4.7.0 Authentication is not", "pam-modules"]),
    ({"auth": {"pam_service": "no-such-service"}}, ["454 4.7.0", "pam-service"]),
])
def test_outage_of_pam_is_no_wrong_password(start, backend, log_in, settings, words):
    only(log_in(start(backend, **settings), status=ERROR), "error", "the login is refused", *words)


def test_backend_that_is_down_is_told_to_be_it(start, backend, log_in):
    postern = start(backend)
    backend.close()
    only(log_in(postern, status=ERROR), "error", "454 4.4.1", "the password is right",
         "the mail server does not answer")


@pytest.mark.parametrize("step, said", [("MAIL", "the sender is refused"),
                                        ("RCPT", "the recipient is refused")])
def test_refusal_of_the_mail_servers_is_told_as_its_own(start, backend, log_in, step, said):
    postern = start(backend)
    backend.on(step, lambda connection, _: connection.say("554 5.7.1 Not from you"))
    findings = log_in(postern, status=ERROR)
    for found in findings.of("login"):
        assert f"{said}: 554 5.7.1 Not from you" in found["message"]
        assert "the login is good" in found["advice"] and "--from" in found["advice"]


def test_server_that_does_not_run_is_told(start, backend, log_in):
    postern = start(backend)
    postern.stop()
    findings = log_in(postern, status=ERROR)
    for found in findings.of("login"):
        assert "there is no connection: Connection refused" in found["message"]
        assert "systemctl start postern" in found["advice"]


def test_port_of_something_else_is_told(start, backend, log_in):
    """TLS is begun with what speaks first."""
    postern = start(backend)
    address = "%s:%d" % postern.starttls
    postern.configure(listen={"submissions": {"address": address, "tls": "implicit"}})
    only(log_in(postern, status=ERROR), "error", "submissions: no TLS comes about", "section tls")


def test_listener_behind_a_load_balancer_is_told_who_asks(start, backend, log_in):
    postern = start(backend, listen={"one": {
        "address": f"127.0.0.1:{wait.free_port()}", "tls": "implicit",
        "proxy_protocol": ["127.0.0.0/8"]}}, ready=False)
    postern.wait_for_record(level="notice", msg=re.compile("^serving"))
    log_in(postern, status=GOOD)
    assert backend.session().identity["ADDR"] == "127.0.0.1"


def test_certificate_that_a_mail_program_would_warn_of_is_a_warning(start, backend, log_in):
    findings = log_in(start(backend), believe=False, status=WARNING)
    assert findings.severities("login").count("warning") == 2, findings.text
    assert findings.severities("login").count("ok") == 2
    assert "self" in findings.of("login")[0]["message"]


def test_no_listener_for_passwords_is_told(start, backend, log_in, scratch):
    postern = start(backend, listen={"mx": {"address": f"127.0.0.1:{wait.free_port()}",
                                            "role": "mx"}}, ready=False)
    only(log_in(postern), "skipped", "with a password")
    postern.wait_for_record(level="notice", msg=re.compile("^serving"))


@pytest.mark.parametrize("given, said", [("", "no password came"), ("\n", "is empty"),
                                         ("x" * 1025 + "\n", "too long")])
def test_password_that_is_none_is_told(start, backend, given, said):
    postern = start(backend)
    result = posterns.run("doctor", "-c", postern.configuration_path, "--login", USER, input=given)
    assert result.returncode == ERROR and said in result.stderr
    assert not postern.find_records(event="login failed")


def test_password_is_asked_for_on_a_terminal_and_not_shown(start, backend, certificates):
    postern = start(backend)
    master, slave = pty.openpty()
    environment = {**os.environ, **posterns.SANITIZERS, "SSL_CERT_FILE": str(certificates.certificate)}
    with subprocess.Popen([posterns.BINARY, "doctor", "--json", "-c", postern.configuration_path,
                           "--login", USER], stdin=slave, stderr=slave, stdout=subprocess.PIPE,
                          env=environment) as process:
        os.close(slave)
        shown = b""
        while b"Password of alice: " not in shown:
            shown += os.read(master, 1000)
        os.write(master, PASSWORD.encode() + b"\n")
        found = json.loads(process.stdout.read())
        assert process.wait() == GOOD, found
    while b"\n" not in shown:
        shown += os.read(master, 1000)
    os.close(master)
    assert PASSWORD.encode() not in shown


def test_errors_of_the_file_are_findings_as_well(scratch):
    path = scratch / "postern.conf"
    path.write_text('hostnam = "x"\nworkers = 0\n')
    result = posterns.run("doctor", "--json", "-c", path)
    found = [each for each in json.loads(result.stdout) if each["check"] == "configuration"]
    assert [each["severity"] for each in found] == ["error"] * len(found)
    messages = [each["message"] for each in found]
    assert f'{path}:1:1: hostnam: there is no such key: did you mean "hostname"?' in messages
    assert f"{path}:2:11: workers: 0 is not from 1 to 256" in messages
    assert messages[-1] == f"{path}: cannot be used"
    assert all("run the doctor again" in each["advice"] for each in found)
    assert result.returncode == ERROR
