"""What the postmaster orders about addresses: refused, or let in without AUTH, for a while."""

import threading

import pytest

from support import control, wait
from support.client import Client
from test_upgrade import program, replace, upgrade  # noqa: F401


def permits(postern):
    return [(each["kind"], each["address"], each["user"])
            for each in control.get(postern, "/permits")["permits"]]


def may_send_without_login(postern, source, tls="implicit"):
    with postern.connect(tls=tls, source=source) as one:
        one.ehlo()
        code = one.command("MAIL FROM:<a@b.test>", 250, 530).code
        one.quit()
    return code == 250


def test_permitted_address_sends_as_the_name_that_was_given(postern, backend):
    control.post(postern, "/permit?address=127.0.1.1&user=printer&for=10m")
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        assert [one.reply().code for _ in range(3)] == [250, 250, 354]
        one.send("x\r\n.\r\n")
        one.reply(250)
        one.command("AUTH PLAIN AAAA", 503)
        one.quit()
    record = postern.session_record(one)
    assert (record["user"], record["mechanism"]) == ("printer", "PERMIT")
    assert b"LOGIN=printer" in b" ".join(backend.session().xclient)
    record = postern.wait_for_record(event="address may send without AUTH")
    assert (record["address"], record["user"], record["for"]) == ("127.0.1.1", "printer", "10m")


def test_permitted_client_has_not_logged_in(start, backend):
    """It may send; it may not ask for accounts, and nobody is told that it had a password."""
    backend.extensions = (*backend.extensions, "VRFY", "EXPN", "ETRN")
    postern = start(backend, backend={"trace": True})
    control.post(postern, "/permit?address=127.0.1.1&user=printer")
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        for command in ("VRFY bob", "EXPN all", "ETRN d.test"):
            one.command(command, 502)
        one.quit()
    (message,) = backend.session().messages
    assert b"with ESMTPS " in message and b"authenticated" not in message
    assert not {"VRFY", "EXPN", "ETRN"} & set(backend.session().verbs)
    logins = [count for name, count in control.metrics(postern).items()
              if name.startswith("postern_logins_total")]
    assert logins and not any(logins)


def test_permitted_address_without_a_name_sends_as_itself(postern, backend):
    control.post(postern, "/permit?address=127.0.1.0/24")
    assert may_send_without_login(postern, "127.0.1.7")
    assert b"LOGIN=127.0.1.7" in b" ".join(backend.session().xclient)


def test_nobody_else_is_let_in(postern, backend):
    control.post(postern, "/permit?address=127.0.1.1")
    assert not may_send_without_login(postern, "127.0.1.2")
    assert not backend.sessions


def test_permitted_address_needs_tls_all_the_same(postern, backend):
    control.post(postern, "/permit?address=127.0.1.1")
    assert not may_send_without_login(postern, "127.0.1.1", tls=None)
    assert may_send_without_login(postern, "127.0.1.1", tls="starttls")


def permitted_session(postern, seconds="10m"):
    control.post(postern, f"/permit?address=127.0.1.1&user=printer&for={seconds}")
    made = postern.connect(source="127.0.1.1")
    made.ehlo()
    made.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    return made


def test_session_that_was_let_in_sends_nothing_more_when_the_order_is_taken_back(postern, backend):
    with permitted_session(postern) as one:
        one.command("MAIL FROM:<begun@b.test>", 250)
        control.post(postern, "/revoke?address=127.0.1.1")
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        one.send(b"x\r\n.\r\n")
        one.reply(250)
        one.send("MAIL FROM:<late@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        one.reply(530)
        one.expect_closed()
    assert b"late@" not in backend.everything_received()
    assert "without AUTH" in postern.session_record(one)["end"]


def test_session_that_was_let_in_sends_nothing_more_when_its_time_is_over(postern):
    def may_send():
        code = one.command("MAIL FROM:<a@b.test>", 250, 530).code
        return code == 250 and one.command("RSET", 250)
    with permitted_session(postern, "3") as one:
        wait.until(lambda: not may_send(), "the end of the order")
        one.expect_closed()


def test_session_that_was_let_in_as_another_does_not_go_on_as_that(postern):
    """He comes again, and is who he is meant to be now."""
    with permitted_session(postern) as one:
        control.post(postern, "/permit?address=127.0.1.1&user=scanner")
        one.command("MAIL FROM:<a@b.test>", 421)
        one.expect_closed()


def test_permitted_client_may_still_log_in(postern):
    control.post(postern, "/permit?address=127.0.1.1&user=printer")
    with postern.log_in(source="127.0.1.1") as one:
        one.quit()
    record = postern.session_record(one)
    assert (record["user"], record["mechanism"]) == ("alice", "PLAIN")


def test_limits_hold_for_those_who_were_let_in(start, backend):
    postern = start(backend, limits={"messages_per_hour": 1})
    control.post(postern, "/permit?address=127.0.1.1&user=printer")
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.command("MAIL FROM:<a@b.test>", 450)
        one.quit()


def test_outage_is_not_told_with_a_code_of_auth(postern, backend):
    control.post(postern, "/permit?address=127.0.1.1")
    backend.close()
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.command("MAIL FROM:<a@b.test>", 421)
        one.expect_closed()


def test_denied_address_is_refused_and_others_are_not(postern):
    control.post(postern, "/deny?address=127.0.1.0/24&for=2h")
    with Client(postern.starttls, source="127.0.1.1") as one:
        assert one.reply(554).status == "5.7.1"
        one.expect_closed()
    postern.connect(source="127.0.2.1").close()
    record = postern.wait_for_record(event="connection refused")
    assert (record["client"], record["cause"]) == ("127.0.1.1", "denied")
    assert control.metrics(postern)['postern_limits_hit_total{limit="denied"}'] == 1


def test_denied_client_of_a_load_balancer_is_refused(start, backend):
    port = wait.free_port()
    postern = start(backend, listen={"submission": {
        "address": f"127.0.0.1:{port}", "tls": "starttls", "proxy_protocol": ["127.0.9.1"]}})
    postern.starttls = ("127.0.0.1", port)
    control.post(postern, "/deny?address=192.0.2.1")
    with Client(postern.starttls, source="127.0.9.1") as one:
        one.send("PROXY TCP4 192.0.2.1 192.0.2.9 1 587\r\n")
        one.reply(554)
        one.expect_closed()
    with Client(postern.starttls, source="127.0.9.1") as one:
        one.send("PROXY TCP4 192.0.2.2 192.0.2.9 1 587\r\n")
        one.greeting()


def test_all_reactors_know_and_a_reload_forgets_nothing(start, backend):
    postern = start(backend, workers=2)
    control.post(postern, "/permit?address=127.0.1.1&user=printer")
    control.post(postern, "/deny?address=127.0.2.1")
    assert all(may_send_without_login(postern, "127.0.1.1") for _ in range(6))
    postern.reload()
    assert all(may_send_without_login(postern, "127.0.1.1") for _ in range(6))
    assert sorted(permits(postern)) == [("deny", "127.0.2.1", None),
                                        ("permit", "127.0.1.1", "printer")]


def test_new_program_forgets_nothing(start, backend, program):
    postern = start(backend)
    control.post(postern, "/permit?address=127.0.1.1&user=printer")
    control.post(postern, "/deny?address=127.0.2.1")
    replace(program)
    upgrade(postern)
    wait.until(lambda: len(permits(postern)) == 2, "both orders")
    assert may_send_without_login(postern, "127.0.1.1")
    with Client(postern.starttls, source="127.0.2.1") as one:
        one.reply(554)


def test_orders_end_by_themselves_or_are_taken_back(postern):
    control.post(postern, "/permit?address=127.0.1.1&for=1")
    control.post(postern, "/permit?address=127.0.1.2")
    control.post(postern, "/deny?address=::1")
    left = {each["address"]: each["left_ms"]
            for each in control.get(postern, "/permits")["permits"]}
    assert 1_700_000 < left["127.0.1.2"] <= 1_800_000 and 3_500_000 < left["::1"] <= 3_600_000
    control.post(postern, "/revoke?address=127.0.1.2")
    assert not may_send_without_login(postern, "127.0.1.2")
    postern.wait_for_record(event="order about an address taken back", address="127.0.1.2")
    assert any(not (threading.Event().wait(pause) or may_send_without_login(postern, "127.0.1.1"))
               for pause in (0.5, 1, 2, 4))
    assert permits(postern) == [("deny", "::1", None)]


@pytest.mark.parametrize("target, status", [
    ("/permit", 400), ("/permit?address=host.example.org", 400),
    ("/permit?address=0.0.0.0/0", 400), ("/permit?address=192.0.2.1&for=0", 400),
    ("/permit?address=192.0.2.1&for=2w", 400), ("/permit?address=192.0.2.1&for=9999d", 400),
    ("/permit?address=192.0.2.1&user=a%20b", 400), ("/permit?address=192.0.2.1&user=a%0d%0ab", 400),
    ("/deny?address=192.0.2.1&user=alice", 400), ("/revoke?address=192.0.2.1", 404)])
def test_order_that_cannot_be_meant_is_refused(postern, target, status):
    assert control.request(postern, target, "POST")[0] == status
    assert not permits(postern)
