"""Postern in front of Debian's Exim, both as etc/examples/exim has them."""

import os
import re
import socket
import subprocess
import tempfile
import threading
import uuid

import pytest

from conftest import needs_root
from support import backend as backends
from support import behind, example, processes, systemd, wait
from support import postern as posterns
from support.behind import mail
from support.client import Client
from support.doctor import examine
from support.maildir import trace_fields

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"
VARIANTS = ("proxy", "program", "auth-param")


@pytest.fixture(scope="module")
def smarthost():
    """Where Exim sends what is not for mail.test."""
    made = backends.Backend()
    yield made
    made.close()


@pytest.fixture(scope="module")
def exim_with(work, smarthost):
    """exim_with(variant) -> an Exim, started once."""
    from support.exim import Exim
    running = {}

    def find(variant):
        if variant not in running:
            directory = tempfile.mkdtemp(dir=work, prefix=f"exim-{variant}-")
            running[variant] = Exim(directory, variant, smarthost.address,
                                    main="log_selector = +incoming_port\n")
        return running[variant]
    yield find
    for each in running.values():
        each.close()


@pytest.fixture
def exim(exim_with, variant):
    return exim_with(variant)


def configuration(exim):
    changes = {"127.0.0.1:10025": "%s:%d" % exim.front} if exim.variant != "program" else {}
    return example.text(f"exim/{exim.variant}/postern.conf", changes)


@pytest.fixture
def front(start, exim):
    """Postern with the example's configuration, where it sees Exim's files."""
    return start(None, example=configuration(exim), command=exim.command)


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


every_variant = pytest.mark.parametrize("variant", VARIANTS)
proxy, program, auth_param = (pytest.mark.parametrize("variant", [each]) for each in VARIANTS)


def direct(address, header=""):
    made = Client(address, source=None)
    made.send(header)
    made.greeting()
    made.ehlo()
    return made


def relayed(smarthost, subject):
    """The message, as it came to the smarthost: once."""
    def find():
        return [message for each in list(smarthost.connections) for message in each.messages
                if subject.encode() in message]
    (found,) = smarthost.wait(find, f"nothing relayed with the subject {subject!r}")
    return found


def relays_for_nobody(client):
    client.command("MAIL FROM:<alice@mail.test> AUTH=alice", 250)
    client.command(f"RCPT TO:<{ELSEWHERE}>", 550)
    client.command("RCPT TO:<bob@mail.test>", 250)
    client.quit()


# Exim alone: the configurations do what their page says

@every_variant
def test_exim_relays_for_nobody_on_the_port_for_everybody(exim):
    """Whatever they say in AUTH=, and wherever from."""
    relays_for_nobody(direct(exim.address))


@proxy
def test_exim_believes_whoever_reaches_its_inner_port(exim, smarthost, subject):
    with direct(exim.front, "PROXY TCP4 203.0.113.9 127.0.0.1 50000 25\r\n") as one:
        one.send_message("alice@mail.test", ["bob@mail.test", ELSEWHERE], mail(subject))
    assert "[203.0.113.9]:50000 " in exim.arrival(subject)
    relayed(smarthost, subject)


@proxy
def test_exim_serves_nobody_there_who_does_not_say_where_from(exim):
    with Client(exim.front, source=None) as one:
        one.send("EHLO client.example\r\n")
        one.greeting()
        one.command("EHLO client.example", 503)
        one.command("MAIL FROM:<alice@mail.test>", 503)


@proxy
def test_exim_takes_no_header_on_the_port_for_everybody(exim):
    with Client(exim.address, source=None) as one:
        one.greeting()
        one.command("PROXY TCP4 203.0.113.9 127.0.0.1 50000 25", 500, 554)


@auth_param
def test_exim_relays_on_its_inner_port_only_for_who_is_named(exim, smarthost, subject):
    with direct(exim.front) as one:
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
        one.command("RSET", 250)
        one.command("MAIL FROM:<alice@mail.test> AUTH=<>", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
        one.command("RSET", 250)
        one.command("MAIL FROM:<alice@mail.test> AUTH=alice", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)
        one.command("DATA", 354)
        one.send(mail(subject) + b".\r\n")
        one.reply(250)
    relayed(smarthost, subject)


@program
def test_exim_believes_no_other_user_about_who_has_logged_in(exim):
    """-oMaa and its like are for root, Exim's own user, and those whom it trusts."""
    said = subprocess.run(
        [*exim.command, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
         "/usr/sbin/exim4", "-bs", "-oMa", "203.0.113.9.50000", "-oMaa", "PLAIN", "-oMai", "alice"],
        input="EHLO x\r\nMAIL FROM:<alice@mail.test>\r\nRCPT TO:<bob@elsewhere.test>\r\nQUIT\r\n",
        capture_output=True, text=True, timeout=wait.PATIENCE, check=False).stdout
    assert re.search(r"^550 relay not permitted", said, re.MULTILINE), said


# Behind Postern

@proxy
def test_exim_sees_address_and_port_by_proxy_and_the_login_in_the_trace(front, exim, subject):
    with front.log_in(source="127.0.0.51") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
    assert f"H=(client.example) [127.0.0.51]:{one.port} " in exim.arrival(subject)
    theirs, ours = trace_fields(exim.delivered(subject))
    assert theirs.startswith(f"Received: from [127.0.0.51] (port={one.port} helo=client.example)")
    assert "[127.0.0.51]" in ours and "(authenticated as alice)" in ours


@program
def test_exim_sees_address_port_login_and_mechanism_as_a_program(front, exim, subject):
    with front.log_in(source="127.0.0.52") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
    arrival = exim.arrival(subject)
    assert f"H=(client.example) [127.0.0.52]:{one.port} " in arrival
    assert " P=esmtpa A=PLAIN:alice " in arrival
    (theirs,) = trace_fields(exim.delivered(subject))
    assert theirs.startswith(
        f"Received: from [127.0.0.52] (port={one.port} helo=client.example ident=")
    assert "with esmtpa" in theirs


@program
def test_a_machine_whose_name_exim_does_not_take_is_let_in_by_its_address(front, exim, subject):
    with front.connect(source="127.0.0.57") as one:
        one.ehlo("my_pc")
        one.login("alice", "wonderland")
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert f"H=([127.0.0.57]) [127.0.0.57]:{one.port} " in exim.arrival(subject)


@program
def test_exim_takes_and_delivers_with_the_rights_of_the_example(start, exim, smarthost, subject):
    with start(None, example=configuration(exim), command=[
            *exim.command, *systemd.rights(example.drop_in("exim/program"))]).log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test", ELSEWHERE], mail(subject))
        one.quit()
    assert " A=PLAIN:alice " in exim.arrival(subject)
    relayed(smarthost, subject)
    assert exim.delivered(subject)


@auth_param
def test_exim_sees_the_login_with_each_message_and_the_address_in_the_trace(front, exim, subject):
    with front.log_in(source="127.0.0.53") as one:
        one.send_message("alice@mail.test> AUTH=<root", ["bob@mail.test"], mail(subject))
    exim.wait_for_log(rf"{exim.number(subject)} login=alice$")
    theirs, ours = trace_fields(exim.delivered(subject))
    assert "[127.0.0.53]" in ours and "(authenticated as alice)" in ours


LOGINS = ["dave@mail.test", "a b", "a=b", "a+b", '"', "<", "(", "${run{/bin/true}}",
          "x A=PLAIN:root", "a:b"]


def begin_for_anybody(start, exim):
    return start(None, example=configuration(exim), command=exim.command,
                 auth={"pam_service": "permit"})


@program
@pytest.mark.parametrize("login", LOGINS)
def test_login_of_any_kind_stays_one_argument_for_exim(start, exim, subject, login):
    """Threat 10."""
    with begin_for_anybody(start, exim).log_in(login, "x") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert f" A=PLAIN:{login} S=" in exim.arrival(subject)


@auth_param
@pytest.mark.parametrize("login", LOGINS)
def test_login_of_any_kind_stays_one_parameter_for_exim(start, exim, subject, login):
    """Threat 10, with a decoder of xtext behind it."""
    with begin_for_anybody(start, exim).log_in(login, "x") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    exim.wait_for_log(rf"{exim.number(subject)} login={re.escape(login)}$")


@pytest.mark.parametrize("variant", ["proxy", "program"])
def test_exim_sees_an_ipv6_address(front, exim, subject, variant):
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    listen = ("::1", wait.free_port("::1"))
    front.configure(listen={"six": {"address": "[%s]:%d" % listen, "tls": "implicit"}})
    front.reload()
    with Client(listen, tls=True) as one:
        one.greeting()
        one.ehlo()
        one.login("alice", "wonderland")
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
    assert f"H=(client.example) [::1]:{one.port} " in exim.arrival(subject)


@every_variant
def test_exim_relays_for_whoever_has_logged_in(front, smarthost, subject, variant):
    with front.log_in() as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
    relayed(smarthost, subject)


@program
def test_exim_goes_on_delivering_when_session_and_postern_are_over(front, smarthost, subject):
    """A process of its own does that, which the session's Exim has made."""
    answered = threading.Event()

    def answer(connection, _):
        connection.hold(answered)
        connection.say("250 2.0.0 Queued")
    smarthost.on("message", answer)
    try:
        with front.log_in() as one:
            one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
            one.quit()
        smarthost.wait(lambda: any(subject.encode() in message
                                   for each in list(smarthost.connections)
                                   for message in each.messages), "the delivery")
        openers = front.pids("opener")
        front.stop()
        wait.until(lambda: not any(map(processes.alive, openers)), "the end of the opener")
    finally:
        answered.set()
        del smarthost.actions["message"]
    connection = [each for each in smarthost.connections
                  if any(subject.encode() in message for message in each.messages)]
    assert len(connection) == 1
    smarthost.wait(lambda: connection[0].has_quit, "its end in order")


@every_variant
def test_exim_hears_nothing_of_who_has_not_logged_in(front, exim, subject, variant):
    before = exim.log().count("rejected RCPT")
    with front.connect() as one:
        one.ehlo()
        one.command("MAIL FROM:<alice@mail.test>", 530)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 530)
        one.quit()
    assert exim.log().count("rejected RCPT") == before


@every_variant
def test_exim_gets_20_megabytes_whole(front, exim, subject, variant):
    behind.large_message_arrives_whole(front, exim, subject)


@every_variant
def test_exim_answers_what_a_client_pipelines(front, exim, subject, variant):
    behind.pipelined_commands_are_answered_in_order(front, exim, subject)


@every_variant
def test_threat_07_nothing_is_smuggled_to_exim(front, exim, subject, variant):
    behind.no_second_message_is_smuggled(front, exim, subject)


@every_variant
def test_outage_of_exim_loses_and_doubles_nothing(front, exim, subject, variant):
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, exim, subject, fail=lambda: exim.stop(front), recover=exim.start)


@every_variant
def test_outage_of_exim_before_a_message_is_told_and_passes(front, exim, subject, variant):
    behind.outage_before_the_message_loses_and_doubles_nothing(
        front, exim, subject, fail=lambda: exim.stop(front), recover=exim.start)


@every_variant
def test_doctor_finds_the_example_good(front, exim, variant):
    findings = examine(front.configuration_path, exim.command)
    assert findings.severities("backend") == ["ok"], findings.text
    assert findings.severities("backend-identity") == ["ok"], findings.text
    for check in ("backend-open-relay", "backend-local-relay", "listener-open-relay"):
        assert not {"warning", "error"} & set(findings.severities(check)), findings.text


@program
def test_setup_writes_what_the_example_has(start, exim, scratch, variant):
    path = scratch / "postern.conf"
    said = subprocess.run(
        [*exim.command, posterns.BINARY, "setup", "--yes", "--hostname", "mail.example.org",
         "--self-signed", "--backend", "%s:%d" % exim.address, "--output", str(path)],
        env={**os.environ, **posterns.SANITIZERS}, capture_output=True, text=True, check=False,
        timeout=wait.PATIENCE * 3)
    errors = [line for line in said.stderr.splitlines() if "error:" in line]
    assert [line for line in errors if 'there is no user "postern"' not in line] == []
    assert said.returncode == (2 if errors else 0), said.stdout + said.stderr
    assert "Exim answers" in said.stdout
    lines = {" ".join(line.split()) for line in path.read_text().splitlines()}
    assert {" ".join(line.split()) for line in configuration(exim).splitlines()
            if "program" in line or "user " in line} <= lines
    made = start(None, example=path.read_text(), command=exim.command)
    findings = examine(made.configuration_path, exim.command)
    assert findings.severities("backend-identity") == ["ok"], findings.text
