"""Logins that PAM cannot decide, as pam_exec says of a wrong password: 454 as in an outage, but no
free guess (threat 41)."""

import time

import pytest

from support import wait
from support.client import plain_response

LIMITS = {"failed_logins": 5, "failed_logins_network": 0, "failed_logins_user": 0, "exempt": []}
#: So many in a row count for nothing.
FREE = 3


@pytest.fixture
def limited(start, backend):
    def run(auth=None, **limits):
        return start(backend, limits={**LIMITS, **limits},
                     auth={"pam_service": "undecided", "attempts": 100, "failure_delay": 0,
                           **(auth or {})})
    return run


def outcome(one, user, password):
    reply = one.login(user, password, 235, 454)
    if reply.code == 235:
        return "in"
    return "put off" if "Too many failed logins" in reply.text else "outage"


def log_in(postern, source, user="alice", password="wrong"):
    with postern.connect(source=source) as one:
        one.ehlo()
        return outcome(one, user, password)


def guess(postern, times, source, user="alice"):
    return [log_in(postern, source, user) for _ in range(times)]


def test_guesses_that_pam_cannot_judge_are_not_endless(limited, pam):
    """Sixty on one connection; PAM is asked about the first eight, and then the client is gone."""
    postern = limited()
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        replies = []
        while len(replies) < 60 and (not replies or replies[-1] == "outage"):
            replies.append(outcome(one, "alice", f"guess {len(replies)}"))
        assert replies == ["outage"] * (FREE + 5) + ["put off"]
        one.expect_closed()
    assert pam.asked() == ["alice"] * (FREE + 5)
    assert log_in(postern, "127.0.1.1", "alice", "wonderland") == "put off"
    assert log_in(postern, "127.0.2.1", "alice", "wonderland") == "in"


def test_guesses_that_pam_cannot_judge_are_slowed(limited):
    postern = limited(auth={"failure_delay": 1})
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        began = time.monotonic()
        for _ in range(FREE):
            one.login("alice", "wrong", 454)
        assert time.monotonic() - began > FREE - 0.01


def test_connection_is_closed_after_as_many_as_failed_logins(limited):
    postern = limited(auth={"attempts": 2})
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.login("alice", "wrong", 454)
        one.login("alice", "wrong", 454)
        one.expect_closed()


def test_guesses_at_one_user_from_everywhere_are_not_endless(limited):
    postern = limited(failed_logins_user=4)
    replies = [log_in(postern, f"127.0.{number}.1") for number in range(1, 11)]
    assert replies == ["outage"] * (FREE + 4) + ["put off"] * 3
    assert log_in(postern, "127.0.20.1", "bob", "builder") == "in"


def test_network_of_guessers_is_not_endless(limited):
    postern = limited(failed_logins_network=4)
    for host in range(1, 5):
        assert guess(postern, FREE + 1, f"127.0.1.{host}", f"user{host}") == ["outage"] * (FREE + 1)
    assert log_in(postern, "127.0.1.99", "bob", "builder") == "put off"


def test_an_account_of_ones_own_makes_no_guess_free(limited):
    """bob logs in between his guesses at others."""
    postern = limited()
    for number in range(FREE + 5):
        assert log_in(postern, "127.0.1.1", f"user{number}") == "outage"
        assert log_in(postern, "127.0.1.1", "bob", "builder") == "in"
    assert log_in(postern, "127.0.1.1", "alice") == "put off"


def test_log_says_which_of_them_count(limited):
    postern = limited()
    guess(postern, FREE + 1, "127.0.1.1")

    def written():
        found = postern.find_records(event="login failed", result="unavailable")
        return found if len(found) == FREE + 1 else None
    records = wait.until(written, "a record of each")
    assert ["counted as a failed login" in each["reason"] for each in records] == \
        [False] * FREE + [True]
    assert all("pam_authenticate: System error" in each["reason"] for each in records)


def test_short_outage_is_forgotten_by_a_login(limited):
    """In a row: a success of that user in between begins a new one."""
    postern = limited(failed_logins=0, failed_logins_user=1)
    for _ in range(3):
        assert guess(postern, FREE, "127.0.1.1") == ["outage"] * FREE
        assert log_in(postern, "127.0.1.1", "alice", "wonderland") == "in"


def test_long_outage_is_forgotten_with_one_failed_login(limited, pam):
    """bob's telephone has gone on trying all the time. If that were held against it, it would wait
    for ten times as long."""
    postern = limited(forgive=5, failed_logins=10)
    pam.outage.touch()
    replies = [log_in(postern, "127.0.1.1", "bob", "builder") for _ in range(30)]
    assert "put off" in replies and "in" not in replies
    pam.outage.unlink()
    wait.until(lambda: log_in(postern, "127.0.1.1", "bob", "builder") == "in",
               "bob is let in again", 25)


def test_outage_locks_out_nobody_at_an_exempt_address(limited, pam):
    postern = limited(exempt=["127.0.1.0/24"])
    pam.outage.touch()
    assert guess(postern, 30, "127.0.1.1") == ["outage"] * 30
    pam.outage.unlink()
    assert log_in(postern, "127.0.1.1", "bob", "builder") == "in"


def test_outage_is_no_wrong_password_to_its_client(limited):
    """Promise 8, also where the outage counts as a failed login."""
    postern = limited(auth={"pam_service": "broken"})
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        replies = [outcome(one, "alice", "wonderland") for _ in range(FREE + 5 + 1)]
    assert replies == ["outage"] * (FREE + 5) + ["put off"]


def test_right_password_after_the_limit_is_not_told(limited, pam):
    """The right one waits after many guesses, and its turn comes when PAM is not asked any more."""
    postern = limited(auth={"workers": 1, "failure_delay": 1})
    clients = [postern.connect(source="127.0.1.1") for _ in range(20)]
    for one in clients:
        one.ehlo()
    *guessing, right = clients
    for one in guessing:
        one.send(f"AUTH PLAIN {plain_response('alice', 'wrong')}\r\n")
    wait.until(lambda: len(pam.asked()) > 1, "PAM is asked, and so the guesses are waiting")
    right.send(f"AUTH PLAIN {plain_response('alice', 'wonderland')}\r\n")
    assert [one.reply().code for one in clients] == [454] * 20
    assert len(pam.asked()) == FREE + 5
    for one in clients:
        one.close()


def test_stack_that_the_doctor_advises_says_no(limited):
    postern = limited(auth={"pam_service": "decided"})
    with postern.connect(source="127.0.1.1") as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
        one.login("alice", "wonderland", 235)
