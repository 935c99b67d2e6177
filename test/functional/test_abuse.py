"""Those who try too often: put off, and forgiven; nobody else suffers."""

import threading

import pytest

from support import wait
from support.client import plain_response

LIMITS = {"failed_logins": 3, "failed_logins_network": 0, "failed_logins_user": 0, "exempt": []}


@pytest.fixture
def limited(start, backend):
    def run(auth=None, **limits):
        return start(backend, limits={**LIMITS, **limits}, auth={"attempts": 100, **(auth or {})})
    return run


def fail(postern, times, source, user="mallory"):
    for _ in range(times):
        with postern.connect(source=source) as one:
            one.ehlo()
            one.login(user, "wrong", 535)


def is_put_off(postern, source, user="alice", password="wonderland"):
    with postern.connect(source=source) as one:
        one.ehlo()
        reply = one.login(user, password, 235, 454)
        if reply.code == 454:
            assert reply.status == "4.7.0"
            one.expect_closed()
    return reply.code == 454


def test_address_that_fails_too_often_is_put_off_and_others_are_not(limited):
    postern = limited()
    fail(postern, 3, "127.0.1.1")
    assert is_put_off(postern, "127.0.1.1")
    assert not is_put_off(postern, "127.0.1.2")
    record = postern.wait_for_record(event="login failed", result="put off")
    assert record["client"] == "127.0.1.1" and "this address" in record["reason"]


def test_pam_is_not_asked_for_those_who_are_put_off(limited, backend):
    postern = limited()
    fail(postern, 3, "127.0.1.1")
    assert is_put_off(postern, "127.0.1.1")
    assert not backend.sessions


def test_guesses_at_the_same_time_are_no_more_than_those_in_turn(limited, pam):
    """The right one among them, of which PAM thinks longer, is not told from the others."""
    postern = limited(auth={"pam_service": "gated", "workers": 3, "share": 3})
    right = postern.connect(source="127.0.1.1")
    right.ehlo()
    right.send(f"AUTH PLAIN {plain_response('bob', 'builder')}\r\n")
    wait.until(lambda: pam.stuck_count() == 1, "bob at the gate")
    guessing = [postern.connect(source="127.0.1.1") for _ in range(6)]
    for one in guessing:
        one.ehlo()
    for one in guessing:
        one.send(f"AUTH PLAIN {plain_response('alice', 'wrong')}\r\n")
    codes = [one.reply().code for one in guessing]
    assert codes.count(535) == 3 and codes.count(454) == 3
    pam.release()
    assert right.reply().code == 454
    for one in [right, *guessing]:
        one.close()


def test_failures_are_forgotten(limited):
    postern = limited(forgive=1)
    fail(postern, 3, "127.0.1.1")
    assert is_put_off(postern, "127.0.1.1")
    # Each trial too early makes it longer, so they come ever more rarely.
    assert any(not (threading.Event().wait(pause) or is_put_off(postern, "127.0.1.1"))
               for pause in (1, 2, 4, 8))


def test_user_is_not_locked_out_of_an_address_where_it_has_just_succeeded(limited):
    """A colleague's telephone with an old password, behind the same address."""
    postern = limited()
    assert not is_put_off(postern, "127.0.1.1")
    fail(postern, 3, "127.0.1.1", "mallory")
    assert is_put_off(postern, "127.0.1.1", "bob", "builder")
    assert not is_put_off(postern, "127.0.1.1", "alice")


def test_user_is_not_locked_out_because_the_network_fails(limited):
    """A neighbour's machine guesses away, in the network where alice is at home."""
    postern = limited(failed_logins=0, failed_logins_network=3)
    assert not is_put_off(postern, "127.0.1.1")
    for last in (2, 3, 4):
        fail(postern, 1, f"127.0.1.{last}", "mallory")
    assert is_put_off(postern, "127.0.1.1", "bob", "builder")
    assert not is_put_off(postern, "127.0.1.1", "alice")


def test_user_is_not_locked_out_because_others_guess_at_the_name(limited):
    """Otherwise anybody could keep alice away from her mail."""
    postern = limited(failed_logins=0, failed_logins_user=3)
    assert not is_put_off(postern, "127.0.1.1")
    for third in (2, 3, 4):
        fail(postern, 1, f"127.0.{third}.1", "alice")
    assert is_put_off(postern, "127.0.5.1", "alice")
    assert not is_put_off(postern, "127.0.1.1", "alice")


def test_trust_is_no_licence_to_guess(limited):
    """Who sits beside alice has as many trials at her password as anybody."""
    postern = limited()
    assert not is_put_off(postern, "127.0.1.1", "alice")
    fail(postern, 3, "127.0.1.1", "alice")
    assert is_put_off(postern, "127.0.1.1", "alice")


def test_network_and_user_count_too(start, backend):
    postern = start(backend, limits={"failed_logins": 0, "failed_logins_network": 3,
                                     "failed_logins_user": 5, "exempt": []})
    for last in (1, 2, 3):
        fail(postern, 1, f"127.0.1.{last}", "carol")
    assert is_put_off(postern, "127.0.1.4")
    assert not is_put_off(postern, "127.0.2.1")
    for third in (3, 4):
        fail(postern, 1, f"127.0.{third}.1", "Carol")
    assert is_put_off(postern, "127.0.5.1", "carol", "x")
    assert {r["reason"] for r in postern.find_records(result="put off")} == {
        "too many failed logins from this network", "too many failed logins of this user"}


def test_exempt_networks_are_not_counted(limited):
    postern = limited(exempt=["127.0.1.0/24"])
    fail(postern, 6, "127.0.1.1")
    assert not is_put_off(postern, "127.0.1.1")
    fail(postern, 3, "127.0.2.1")
    assert is_put_off(postern, "127.0.2.1")


def test_reload_forgets_nothing(limited):
    postern = limited()
    fail(postern, 3, "127.0.1.1")
    postern.reload()
    assert is_put_off(postern, "127.0.1.1")


def test_reactors_count_together(start, backend):
    postern = start(backend, workers=2, limits=LIMITS)
    fail(postern, 3, "127.0.1.1")
    assert all(is_put_off(postern, "127.0.1.1") for _ in range(6))


def test_connections_in_a_minute(start, backend):
    postern = start(backend, limits={"connections_per_minute": 3, "exempt": []})
    for _ in range(3):
        postern.connect(tls=None, source="127.0.1.1").close()
    from support.client import Client
    with Client(postern.starttls, source="127.0.1.1") as one:
        one.reply(421)
        one.expect_closed()
    postern.connect(tls=None, source="127.0.1.2").close()
    record = postern.wait_for_record(event="connection refused")
    assert "in a minute" in record["cause"]


def test_stolen_account_is_stopped(start, backend):
    postern = start(backend, limits={"messages_per_hour": 2, "recipients_per_hour": 0})
    with postern.log_in() as one:
        for _ in range(2):
            one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        assert one.command("MAIL FROM:<a@b.test>", 450).status == "4.7.1"
        one.command("RCPT TO:<c@d.test>")
        one.quit()
    with postern.log_in() as two:
        two.command("MAIL FROM:<a@b.test>", 450)
        two.quit()
    with postern.log_in("bob", "builder") as other:
        other.command("MAIL FROM:<a@b.test>", 250)
        other.quit()
    record = postern.wait_for_record(event="limit reached")
    assert record["user"] == "alice" and record["level"] == "warning"
    assert record["limit"] == "messages_per_hour"
    assert postern.session_record(one)["limited"] == "1"
    assert all(len(s.messages) <= 2 for s in backend.sessions)


def test_recipients_of_a_stolen_account_are_counted_one_by_one(start, backend):
    postern = start(backend, limits={"recipients_per_hour": 3})
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.send("".join(f"RCPT TO:<r{n}@d.test>\r\n" for n in range(6)))
        assert [one.reply().code for _ in range(6)] == [250] * 3 + [450] * 3
        one.command("DATA", 354)
        one.send("x\r\n.\r\n")
        one.reply(250)
        one.quit()
    assert backend.session().verbs.count("RCPT") == 3
