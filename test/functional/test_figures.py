"""Each figure that Postern shows counts what its name says: one that stands still is no figure."""

import ssl
import subprocess

import pytest

from support import control, wait
from support.client import context, plain_response

MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


def limit_hit(postern, limit):
    return control.metrics(postern)[f'postern_limits_hit_total{{limit="{limit}"}}']


def sessions_in(postern, state):
    return control.metrics(postern)[f'postern_sessions{{state="{state}"}}']


@pytest.mark.parametrize("version, name", [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
                                           (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_handshakes_are_counted_and_resumed_ones_apart(postern, version, name):
    settings = context(minimum_version=version, maximum_version=version)

    def handshakes(resumed):
        return control.metrics(postern).get(
            f'postern_tls_handshakes_total{{version="{name}",cipher="{cipher}",'
            f'resumed="{resumed}"}}', 0)

    with postern.log_in(tls_context=settings) as first:
        cipher, ticket = first.tls.cipher()[0], first.session_ticket()
        first.quit()
    assert (handshakes("false"), handshakes("true")) == (1, 0)
    with postern.log_in(tls_context=settings, session=ticket) as again:
        assert again.tls.session_reused
        again.quit()
    assert (handshakes("false"), handshakes("true")) == (1, 1)
    assert control.get(postern, "/status")["counters"]["tls_handshakes"] == 2


def test_each_verdict_is_one_observation_of_how_long_it_took(postern):
    def observed():
        figures = control.metrics(postern)
        assert figures["postern_login_duration_seconds_count"] == \
            figures['postern_login_duration_seconds_bucket{le="+Inf"}']
        return figures["postern_login_duration_seconds_count"]

    assert observed() == 0
    with postern.log_in() as client:
        assert observed() == 1
        client.quit()
    with postern.connect() as client:
        client.ehlo()
        client.login("alice", "wrong", 535)
        assert observed() == 2


def test_time_at_the_gate_is_in_the_sum(start, backend, pam):
    """Not the count alone: a sum of zero would be an average of zero."""
    postern = start(backend, auth={"pam_service": "gated"})
    with postern.connect() as bob:
        bob.ehlo()
        bob.send(f"AUTH PLAIN {plain_response('bob', 'builder')}\r\n")
        wait.until(pam.stuck_count, "bob at the gate")
        pam.release()
        bob.reply(235)
    figures = control.metrics(postern)
    assert figures["postern_login_duration_seconds_sum"] > 0


def test_logins_that_wait_for_a_worker_are_shown(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "share": 1})
    clients = [postern.connect(source=f"127.0.1.{n}") for n in range(1, 4)]
    for client, (user, password) in zip(clients, [("bob", "builder"), ("alice", "wonderland"),
                                                  ("alice", "wonderland")]):
        client.ehlo()
        client.send(f"AUTH PLAIN {plain_response(user, password)}\r\n")
        if user == "bob":
            wait.until(pam.stuck_count, "bob at the gate")
    wait.until(lambda: sessions_in(postern, "verdict") == 3, "all three in front of PAM")
    assert control.metrics(postern)["postern_logins_waiting"] == 2
    assert control.get(postern, "/status")["auth"]["waiting"] == 2
    pam.release()
    for client in clients:
        client.reply(235)
    assert control.metrics(postern)["postern_logins_waiting"] == 0
    for client in clients:
        client.close()


def test_each_session_at_a_mail_server_is_one_observation_of_how_long_it_took(start, backend):
    def refuse(connection, _):
        connection.say("421 4.3.2 not now")
        connection.drop()

    postern = start(backend)
    opened = 'postern_backend_open_duration_seconds_count{backend="default"}'
    with postern.log_in() as client:
        assert control.metrics(postern)[opened] == 1
        client.quit()
    backend.on("connect", refuse)
    with postern.connect() as client:
        client.ehlo()
        client.login("alice", "wonderland", 235)
        client.command("NOOP", 421)
    assert control.metrics(postern)[opened] == 2


@pytest.mark.parametrize("limit, command", [("messages_per_hour", "MAIL FROM:<a@b.test>"),
                                            ("recipients_per_hour", "RCPT TO:<c@d.test>")])
def test_stolen_account_is_seen_in_the_figures(start, backend, limit, command):
    postern = start(backend, limits={limit: 1})
    with postern.log_in() as client:
        client.send_message("a@b.test", ["c@d.test"], MESSAGE)
        assert limit_hit(postern, limit) == 0
        if limit == "recipients_per_hour":
            client.command("MAIL FROM:<a@b.test>", 250)
        client.command(command, 450)
        assert limit_hit(postern, limit) == 1
        client.quit()


def test_recipients_that_are_not_ours_are_counted_as_refused(start, backend):
    address = ("127.0.0.1", wait.free_port())
    postern = start(backend, listen={"mx": {"address": "%s:%d" % address, "role": "mx",
                                            "recipients": ["example.org"]}})
    postern.starttls = address
    with postern.connect(tls=None) as client:
        client.ehlo()
        client.command("MAIL FROM:<a@b.test>", 250)
        client.command("RCPT TO:<bob@example.org>", 250)
        client.command("RCPT TO:<bob@elsewhere.test>", 550)
        client.command("RCPT TO:<eve@elsewhere.test>", 550)
        client.quit()
    figures = control.metrics(postern)
    assert figures['postern_recipients_total{result="accepted"}'] == 1
    assert figures['postern_recipients_total{result="refused"}'] == 2


def test_bytes_of_a_session_are_counted_both_ways_to_the_last(postern):
    def counted():
        figures = control.metrics(postern)
        return [figures[f'postern_client_bytes_total{{direction="{way}"}}'] for way in ("in", "out")]

    with postern.log_in() as client:
        before = counted()
        reply = client.command("NOOP", 250)
        change = [now - then for now, then in zip(counted(), before)]
        assert change == [len("NOOP\r\n"), len(f"250 {reply.text}\r\n")]
        client.quit()
    with postern.connect() as client:  # and in front of the mail server
        before = counted()
        reply = client.command("NOOP", 250)
        change = [now - then for now, then in zip(counted(), before)]
        assert change == [len("NOOP\r\n"), len(f"250 {reply.text}\r\n")]


def test_certificate_ends_when_its_figure_says(postern, certificates):
    shown = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in",
                            certificates.certificate], capture_output=True, text=True, check=True)
    end = ssl.cert_time_to_seconds(shown.stdout.strip().partition("=")[2])
    assert control.metrics(postern)[
        "postern_certificate_not_after_timestamp_seconds"
        f'{{certificate="{certificates.certificate}"}}'] == end
