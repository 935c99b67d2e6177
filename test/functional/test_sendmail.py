"""Postern in front of Debian's sendmail, both as etc/examples/sendmail has them."""

import uuid

import pytest

from conftest import needs_root
from support import backend as backends
from support import behind
from support.behind import mail
from support.client import Client
from support.doctor import examine
from support.maildir import trace_fields
from support.sendmail_site import CLIENT, SERVER, Across, Site, configuration

pytestmark = needs_root

ELSEWHERE = "somebody@elsewhere.test"
VARIANTS = ("trace", "auth-param", "transparent")
@pytest.fixture(scope="module")
def site_with(work):
    """site_with(variant) -> a Site, made once."""
    running = {}

    def find(variant):
        if variant not in running:
            running[variant] = Site(work, variant)
        return running[variant]
    yield find
    for each in running.values():
        each.close()


@pytest.fixture
def site(site_with, variant):
    return site_with(variant)


@pytest.fixture
def sendmail(site):
    return site.sendmail


@pytest.fixture
def front(start, site, sendmail):
    """Postern with the example's configuration."""
    return site.front(start)


@pytest.fixture
def subject():
    return f"test {uuid.uuid4()}"


every_variant = pytest.mark.parametrize("variant", VARIANTS)
trace, auth_param, transparent = (pytest.mark.parametrize("variant", [each]) for each in VARIANTS)


# Sendmail alone: the configurations do what their page says

@every_variant
def test_sendmail_relays_for_no_other_machine(site, sendmail):
    """Whatever it says in AUTH=."""
    with site.direct(sendmail.address, source="127.0.0.9") as one:
        one.command("MAIL FROM:<alice@mail.test> AUTH=alice", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.quit()


@trace
def test_sendmail_relays_for_everybody_on_its_machine(site, sendmail, subject):
    with site.direct(sendmail.address) as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
        one.quit()
    site.relayed(subject)


@auth_param
def test_sendmail_serves_nobody_on_its_inner_port_who_is_not_named(site, sendmail, subject):
    with site.direct(sendmail.front) as one:
        for parameter in ("", " AUTH=<>", " AUTH="):
            one.command(f"MAIL FROM:<alice@mail.test>{parameter}", 250)
            one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
            one.command("RCPT TO:<bob@mail.test>", 550)
            one.command("RSET", 250)
        one.command("MAIL FROM:<alice@mail.test> AUTH=alice", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 250)
        one.command("DATA", 354)
        one.send(mail(subject) + b".\r\n")
        one.reply(250)
        one.command("MAIL FROM:<alice@mail.test>", 250)
        one.command("RCPT TO:<bob@mail.test>", 550)
        one.quit()
    site.relayed(subject)


@auth_param
def test_sendmail_relays_on_its_inner_port_for_no_other_machine(site, sendmail):
    with site.direct(sendmail.front, source="127.0.0.9") as one:
        one.command("MAIL FROM:<alice@mail.test> AUTH=alice", 250)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 550)
        one.quit()


@transparent
def test_inner_port_of_sendmail_is_out_of_reach_for_other_machines(site, sendmail):
    for host in (SERVER, "127.0.0.2"):
        with site.place.clients.inside(), pytest.raises(OSError):
            Client((host, sendmail.front[1]), source=None)


# Behind Postern

@trace
def test_sendmail_hands_on_the_trace_of_who_has_logged_in(front, sendmail, subject):
    with front.log_in(source="127.0.0.61") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    _, ours = trace_fields(sendmail.delivered(subject))
    assert ours.startswith("Received: from client.example ([127.0.0.61])")
    assert "(authenticated as alice)" in ours


@auth_param
def test_sendmail_logs_the_login_of_each_message(front, sendmail, subject):
    with front.log_in(source="127.0.0.62") as one:
        one.command("MAIL FROM:<alice@mail.test> AUTH=root", 250)
        one.command("RCPT TO:<bob@mail.test>", 250)
        one.command("DATA", 354)
        one.send(mail(subject) + b".\r\n")
        one.reply(250)
        one.quit()
    assert "login=alice\n" in sendmail.arrival(subject)
    _, ours = trace_fields(sendmail.delivered(subject))
    assert "[127.0.0.62]" in ours and "(authenticated as alice)" in ours


@transparent
def test_sendmail_sees_a_connection_from_the_client_itself(front, sendmail, subject):
    with front.log_in() as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert f"daemon=Postern, relay=[{CLIENT}]" in sendmail.arrival(subject)
    theirs, ours = trace_fields(sendmail.delivered(subject))
    assert theirs.startswith(f"Received: from client.example ([{CLIENT}])")
    assert f"[{CLIENT}]" in ours and "(authenticated as alice)" in ours


@transparent
def test_client_by_ipv6_is_refused_where_sendmail_listens_by_ipv4(front, site):
    with site.place.inside():
        one = Client(("::1", 465), tls=True)
    with one:
        one.greeting()
        one.ehlo()
        one.login("alice", "wonderland", 454)


def test_without_the_routes_a_session_from_the_clients_address_is_refused(start):
    place = Across(routing="")
    try:
        with place.inside():
            server = backends.Backend(host="127.0.0.2")
        front = place.front(start, example=configuration("transparent", server.address),
                            timeouts={"backend_connect": 1})
        with front.connect() as one:
            one.ehlo()
            one.login("alice", "wonderland", 454)
        server.close()
    finally:
        place.close()


@auth_param
@pytest.mark.parametrize("login, seen", [("dave@mail.test", "dave@mail.test"), ("a b", "a+20b"),
                                         ("$&{client_addr}", "$&{client_addr}"),
                                         ("x $| <>", "x+20$|+20+3C+3E"), ('"', "+22"),
                                         ("(", "+28"), ("\\", "+5C")])
def test_login_of_any_kind_stays_one_word_in_sendmails_log(site, sendmail, start, subject, login,
                                                          seen):
    """Threat 10, in xtext as it came."""
    front = site.front(start, auth={"pam_service": "permit"})
    with front.log_in(login, "x") as one:
        one.send_message("alice@mail.test", ["bob@mail.test"], mail(subject))
        one.quit()
    assert f"login={seen}\n" in sendmail.arrival(subject)


@every_variant
def test_sendmail_relays_for_whoever_has_logged_in(front, site, subject):
    with front.log_in() as one:
        one.send_message("alice@mail.test", [ELSEWHERE], mail(subject))
        one.quit()
    site.relayed(subject)


@every_variant
def test_sendmail_hears_nothing_of_who_has_not_logged_in(front, sendmail):
    before = sendmail.log().count("ruleset=")
    with front.connect() as one:
        one.ehlo()
        one.command("MAIL FROM:<alice@mail.test>", 530)
        one.command(f"RCPT TO:<{ELSEWHERE}>", 530)
        one.quit()
    assert sendmail.log().count("ruleset=") == before


@every_variant
def test_sendmail_gets_20_megabytes_whole(front, sendmail, subject):
    behind.large_message_arrives_whole(front, sendmail, subject)


@every_variant
def test_sendmail_answers_what_a_client_pipelines(front, sendmail, subject):
    behind.pipelined_commands_are_answered_in_order(front, sendmail, subject)


@every_variant
def test_threat_07_nothing_is_smuggled_to_sendmail(front, sendmail, subject):
    behind.no_second_message_is_smuggled(front, sendmail, subject)


@every_variant
def test_outage_of_sendmail_loses_and_doubles_nothing(front, sendmail, subject):
    behind.outage_in_the_middle_loses_and_doubles_nothing(
        front, sendmail, subject, fail=sendmail.stop, recover=sendmail.start)


@every_variant
def test_outage_of_sendmail_before_a_message_is_told_and_passes(front, sendmail, subject):
    behind.outage_before_the_message_loses_and_doubles_nothing(
        front, sendmail, subject, fail=sendmail.stop, recover=sendmail.start)


@pytest.mark.parametrize("variant", ["trace", "auth-param"])
def test_doctor_finds_the_example_good(front, variant):
    findings = examine(front.configuration_path)
    assert findings.severities("backend") == ["ok"], findings.text
    assert findings.severities("backend-identity") == ["ok"], findings.text
    for check in ("backend-open-relay", "backend-local-relay", "listener-open-relay"):
        assert not {"warning", "error"} & set(findings.severities(check)), findings.text
