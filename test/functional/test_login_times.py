"""What the time of a refusal tells: nothing (threats 15, 45, 46).

A refusal leaves a whole number of delays after its attempt. Which number depends on how many of the
same address come before it, and on nothing that PAM says. So a test looks at whole numbers: a busy
machine makes an answer late within its delay, and where many wait for each other, at most by one
delay more."""

import selectors
import statistics
import time

import pytest

from conftest import needs_root
from support import wait
from support.client import Client, plain_response
from support.pam import SystemUser

LIMITED = {"exempt": [], "connections_per_address": 1000}


def greeted(postern, count, source):
    """Clients of one address, behind EHLO."""
    made = []
    for _ in range(count):
        one = postern.connect(source=source)
        one.ehlo()
        made.append(one)
    return made


def answers(attempts, patience=90):
    """[(code, seconds)] of [(client, user, password)] that are tried at the same time, in the order
    of `attempts`; seconds from each one's own attempt."""
    began, told = {}, {}
    with selectors.DefaultSelector() as waiting:
        for one, user, password in attempts:
            waiting.register(one.socket, selectors.EVENT_READ, one)
            began[one] = time.monotonic()
            one.send("AUTH PLAIN " + plain_response(user, password) + "\r\n")
        deadline = time.monotonic() + patience
        while len(told) < len(began):
            assert time.monotonic() < deadline, "no answer"
            for key, _ in waiting.select(1):
                now = time.monotonic()
                waiting.unregister(key.fileobj)
                told[key.data] = (key.data.reply().code, now - began[key.data])
    for one in told:
        one.close()
    return [told[one] for one, _, _ in attempts]


def delays(told, delay):
    """How many whole delays each of them took, in order."""
    # Both clocks are the same, but Postern's counts whole milliseconds.
    return sorted(int((seconds + 0.005) / delay) for _, seconds in told)


def codes(told):
    return sorted(code for code, _ in told)


def check_alike(told, others, delay):
    """Nothing tells which of them is which: the codes, no answer before the delay, how many delays
    they took, and how late within a delay they came."""
    assert codes(told) == codes(others)
    for one, other in zip(delays(told, delay), delays(others, delay)):
        assert min(one, other) >= 1 and abs(one - other) <= 1, (told, others)
    for each in told, others:
        late = statistics.median((seconds + 0.005) % delay for _, seconds in each)
        assert late < delay / 4, each


def crowd(postern, user, count, source):
    return [(one, user, "wrong") for one in greeted(postern, count, source)]


def guesses(postern, users, count):
    """What answers() has of `count` guesses at each user, all at once, from an address for each."""
    crowds = [crowd(postern, user, count, f"127.0.{number}.1")
              for number, user in enumerate(users, 1)]
    told = answers([each for one in crowds for each in one])
    return [told[at:at + count] for at in range(0, len(told), count)]


@pytest.mark.parametrize("count", [14, 40])
def test_many_guesses_at_once_do_not_tell_who_exists(start, backend, count):
    """PAM takes long for bob only. The tenth failure reaches the limit, and attempts after it, for
    which PAM is not asked, wait like those before."""
    postern = start(backend, limits=LIMITED,
                    auth={"pam_service": "thoughtful", "failure_delay": 2, "workers": 4})
    bob, nobody = guesses(postern, ["bob", "nobody-knows-me"], count)
    assert codes(bob) == [454] * (count - 10) + [535] * 10
    check_alike(bob, nobody, 2)


def test_many_guesses_without_limits_do_not_tell_who_exists(start, backend):
    postern = start(backend, limits={**LIMITED, "failed_logins": 0, "failed_logins_network": 0,
                                     "failed_logins_user": 0},
                    auth={"pam_service": "thoughtful", "failure_delay": 2, "workers": 4})
    bob, nobody = guesses(postern, ["bob", "nobody-knows-me"], 56)
    assert codes(bob) == [535] * 56
    check_alike(bob, nobody, 2)


@needs_root
def test_guesses_at_system_accounts_do_not_tell_who_exists(start, backend, system_user):
    """Defaults and pam_unix, which hashes for accounts that exist."""
    postern = start(backend, limits=LIMITED,
                    auth={"pam_service": "unix", "failure_delay": 2, "workers": 4})
    exists, unknown = guesses(postern, [system_user.name, "postern-nobody-knows-me"], 150)
    check_alike(exists, unknown, 2)


@pytest.fixture
def accounts():
    """[(user, password)] that pam_unix refuses, each for a reason of its own, and names that it
    does not know."""
    made = {fate: SystemUser() for fate in ("expire", "age", "lock", "remove_password", "keep")}
    for fate, user in made.items():
        if fate != "keep":
            getattr(user, fate)()
    yield [(made["keep"].name, "wrong"), ("postern-nobody-knows-me", "wrong"),
           *((user.name, user.password) for fate, user in made.items() if fate != "keep"),
           (made["expire"].name, "wrong")]
    for user in made.values():
        user.remove()


@needs_root
def test_refusals_of_every_kind_of_account_take_the_same_time(start, backend, accounts):
    """The right password of an expired account like a wrong one. pam_unix wishes for two seconds at
    a wrong one, and libpam makes one to three of them, by the second in which it is asked; so the
    configured delay is the shortest, and what libpam draws would show."""
    postern = start(backend, auth={"pam_service": "unix", "failure_delay": 1, "workers": 4})
    reach_two_delays(postern, "postern-nobody-knows-me", 1)
    for second in range(1, 4):
        told = answers([(one, user, password) for number, (user, password) in enumerate(accounts)
                        for one in greeted(postern, 1, f"127.0.{second}.{number + 1}")])
        assert codes(told) == [535] * len(accounts)
        assert delays(told, 1) == [2] * len(accounts), told


def reach_two_delays(postern, user, delay):
    """Until a module's wish, of which libpam makes more or less, counts for all."""
    tried = iter(range(1, 250))

    def has_grown():
        (told,) = answers(crowd(postern, user, 1, f"127.1.{next(tried)}.1"))
        return delays([told], delay) == [2]
    wait.until(has_grown, "a refusal waits for two delays", 90)


@needs_root
def test_a_wish_of_one_module_delays_the_refusals_of_all(start, backend, system_user, pam):
    """pam_faildelay's wish of four seconds holds for the account phase too, which has none."""
    pam.service("faildelay", "auth optional pam_faildelay.so delay=4000000",
                "auth required pam_unix.so nodelay", "account required pam_unix.so")
    system_user.expire()
    postern = start(backend, auth={"pam_service": "faildelay", "failure_delay": 2})
    reach_two_delays(postern, "nobody-knows-me", 2)
    (one,), (two,) = greeted(postern, 1, "127.0.2.1"), greeted(postern, 1, "127.0.3.1")
    wrong, right = answers([(one, "nobody-knows-me", "wrong"),
                            (two, system_user.name, system_user.password)])
    assert wrong[0] == right[0] == 535
    assert delays([wrong], 2) == delays([right], 2) == [2]


@pytest.mark.parametrize("authzid, queue", [("", 1), ("carol", 1000)])
def test_refusals_without_pam_wait_like_the_others(start, backend, pam, authzid, queue):
    """A full queue, and authorization as somebody else."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "queue": queue,
                                   "failure_delay": 1})
    stuck = greeted(postern, 2, "127.0.1.1")
    for one in stuck:
        one.send(f"AUTH PLAIN {plain_response('bob', 'builder')}\r\n")
    wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
    (late,) = greeted(postern, 1, "127.0.2.1")
    began = time.monotonic()
    late.send(f"AUTH PLAIN {plain_response('bob', 'builder', authzid)}\r\n")
    assert late.reply().code == (535 if authzid else 454)
    assert time.monotonic() - began > 0.99
    for one in [late, *stuck]:
        one.reset()


def test_logins_that_are_put_off_wait_like_the_others(start, backend):
    postern = start(backend, limits={**LIMITED, "failed_logins": 1}, auth={"failure_delay": 1})
    assert delays(answers(crowd(postern, "alice", 1, "127.0.1.1")), 1) == [1]
    told = answers([(one, "bob", "builder") for one in greeted(postern, 3, "127.0.1.1")])
    assert [code for code, _ in told] == [454] * 3 and delays(told, 1) == [1] * 3


def test_refusal_held_back_delays_nobody_of_another_address(start, backend):
    """Promise 6: one worker, and it is free while an address waits for its own refusals."""
    postern = start(backend, auth={"failure_delay": 8, "workers": 1})
    failing = greeted(postern, 6, "127.0.1.1")
    for one in failing:
        one.send(f"AUTH PLAIN {plain_response('alice', 'wrong')}\r\n")
    began = time.monotonic()
    postern.log_in(source="127.0.2.1").quit()
    assert time.monotonic() - began < 4
    for one in failing:
        one.reset()


def test_hanging_up_makes_no_guess_free(start, backend, pam):
    """PAM's answer comes when its client has gone, and counts."""
    postern = start(backend, limits={**LIMITED, "failed_logins": 1},
                    auth={"pam_service": "gated", "failure_delay": 0})
    (one,) = greeted(postern, 1, "127.0.1.1")
    one.send(f"AUTH PLAIN {plain_response('bob', 'wrong')}\r\n")
    wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
    one.reset()
    postern.session_record(one)
    pam.release()

    def is_put_off():
        with Client(postern.implicit, tls=True, source="127.0.1.1") as other:
            other.reply(220)
            other.ehlo()
            return other.login("nobody-knows-me", "x", 535, 454).code == 454 and \
                bool(postern.find_records(result="put off"))
    wait.until(is_put_off, "the guess counts")
    assert not [r for r in postern.find_records(event="login failed", result="rejected")
                if r["user"] == "nobody-knows-me"]
