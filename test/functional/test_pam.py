"""PAM: real modules, what they are told, and what becomes of everybody else while they take their
time."""

import concurrent.futures
import pwd
import re
import select
import time

import pytest

from conftest import needs_root
from support import control, processes, wait
from support.client import plain_response
from support.pam import LOCKED, USERS


def submit(one, user, password):
    """AUTH, without waiting for the reply."""
    one.send("AUTH PLAIN " + plain_response(user, password) + "\r\n")


def refused_client(postern, number):
    """From an address of its own, behind EHLO."""
    one = postern.connect(source=f"127.0.1.{number % 250 + 1}")
    one.ehlo()
    return one


# modules

@needs_root
def test_system_account_logs_in(start, backend, system_user):
    postern = start(backend, auth={"pam_service": "unix"})
    with postern.connect() as one:
        one.ehlo()
        one.login(system_user.name, system_user.password + "x", 535)
        one.login(system_user.name, system_user.password)
    assert backend.session().identity["LOGIN"] == system_user.name


@needs_root
@pytest.mark.parametrize("fate", ["expire", "lock"])
def test_expired_and_locked_accounts_do_not(start, backend, system_user, fate):
    """The account phase counts (threat 16)."""
    getattr(system_user, fate)()
    postern = start(backend, auth={"pam_service": "unix"})
    with postern.connect() as one:
        one.ehlo()
        one.login(system_user.name, system_user.password, 535)
    assert not backend.sessions


def test_service_that_permits_all(start, backend):
    postern = start(backend, auth={"pam_service": "permit"})
    postern.log_in("anybody", "anything").quit()
    assert backend.session().identity["LOGIN"] == "anybody"


def test_service_that_denies_all(start, backend):
    with start(backend, auth={"pam_service": "deny"}).connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 535)
    assert not backend.sessions


def test_refusal_in_the_account_phase_is_535(start, backend):
    with start(backend, auth={"pam_service": "no_account"}).connect() as one:
        one.ehlo()
        one.login("anybody", "anything", 535)
    assert not backend.sessions


def test_modules_may_talk(start, backend):
    start(backend, auth={"pam_service": "chatty"}).log_in().quit()


def test_modules_are_told_who_asks_from_where(start, backend, pam, scratch):
    """Threat 16: PAM_RHOST is the client's address."""
    recorded = pam.recorded(scratch)
    postern = start(backend, auth={"pam_service": "recorded"})
    postern.log_in(source="127.0.0.77").quit()
    assert recorded.read_text().splitlines() == [
        f"type={kind} user=alice rhost=127.0.0.77 tty=smtp service=recorded"
        for kind in ("auth", "account")]


def test_login_is_what_pam_calls_the_user_in_the_end(start, backend):
    """Threat 12: a module may map names; the backend hears the mapped one."""
    postern = start(backend, auth={"pam_service": "renamed"},
                    environment={"PAM_USER": "mapped-name"})
    with postern.log_in() as one:
        one.quit()
    assert backend.session().identity["LOGIN"] == "mapped-name"
    assert postern.session_record(one)["user"] == "mapped-name"


def test_module_that_is_missing_is_an_outage(start, backend):
    """Promise 8."""
    postern = start(backend, auth={"pam_service": "broken"})
    with postern.connect() as one:
        one.ehlo()
        assert one.login("alice", "wonderland", 454).status == "4.7.0"


def test_service_that_is_missing_is_an_outage(start, backend):
    """Promise 8; and the log says what is missing."""
    postern = start(backend, auth={"pam_service": "no-such-service"})
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert [r for r in postern.records() if "no-such-service" in r.get("msg", "")]


# time

def test_fail_delay_of_a_module_delays_the_refusal(start, backend):
    with start(backend, auth={"pam_service": "slow_deny"}).connect() as one:
        one.ehlo()
        began = time.monotonic()
        one.login("alice", "wonderland", 535)
        # libpam itself spreads the wish: 50 % either way.
        assert time.monotonic() - began > 0.9


def test_delays_of_thirty_failing_logins_do_not_add_up(start, backend):
    """At a fail delay of 3 s. That nobody else waits for them is shown by test_threats.py 14."""
    postern = start(backend, auth={"pam_service": "slow", "workers": 4})
    failing = [refused_client(postern, number) for number in range(30)]
    began = time.monotonic()
    for one in failing:
        submit(one, "alice", "wrong")
    for one in failing:
        one.reply(535)
        assert time.monotonic() - began > 1.4, "told without the delay"
        one.close()
    assert time.monotonic() - began < 15, "the delays have added up"


def test_stuck_module_is_an_outage_for_its_client_only(start, backend, pam):
    """454, and the worker is replaced (threat 14)."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 2, "timeout": 1})
    before = set(postern.team("auth worker", 2))
    with postern.connect() as bob:
        bob.ehlo()
        submit(bob, "bob", "builder")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        postern.log_in(source="127.0.0.10").quit()
        bob.reply(454)
        assert bob.command("NOOP").code == 250
    postern.wait_for_record(level="warning", msg=re.compile("auth worker . is replaced"))
    wait.until(lambda: len(set(postern.pids("auth worker")) - before) == 1 and
               len(postern.pids("auth worker")) == 2, "a new worker")
    postern.log_in().quit()


def test_missing_service_is_told_once_and_is_the_cause_of_each_outage(start, backend, pam):
    """No worker dies of it, and when it is there, people log in without a reload."""
    missing = re.compile('PAM service "late": no readable file of that name in ')
    postern = start(backend, auth={"pam_service": "late", "workers": 2})
    workers = postern.team("auth worker", 2)
    for _ in range(3):
        with postern.connect() as one:
            one.ehlo()
            one.login("alice", "wonderland", 454)
    assert len(postern.find_records(event="login failed", result="unavailable",
                                    reason=missing)) == 3
    assert all(missing.search(each["reason"])
               for each in control.get(postern, "/failures")["failures"])
    assert len(postern.find_records(level="warning", msg=missing)) == 1
    pam.service("late", "auth required pam_permit.so", "account required pam_permit.so")
    postern.log_in().quit()
    postern.wait_for_record(level="notice", msg=re.compile('^PAM service "late" is there'))
    assert postern.pids("auth worker") == workers
    assert not postern.find_records(msg=re.compile("auth worker"))
    (pam.directory / "late").unlink()
    postern.reload()
    pam.service("late", "auth required pam_permit.so", "account required pam_permit.so")
    postern.reload()
    assert [each["level"] for each in postern.find_records(
        msg=re.compile('(^|pam_service: )PAM service "late"'))] == ["warning", "notice"] * 2


def test_account_phase_that_is_stuck_is_an_outage(start, backend, pam):
    postern = start(backend, auth={"pam_service": "stuck_account", "timeout": 1})
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
    assert pam.stuck_count() == 1
    assert not backend.sessions


def test_one_address_does_not_occupy_the_whole_pool(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 2, "share": 1})
    greedy = [postern.connect(source="127.0.0.66") for _ in range(6)]
    for one in greedy:
        one.ehlo()
        submit(one, "bob", "builder")
    wait.until(lambda: pam.stuck_count() == 1, "the first of them")
    postern.log_in(source="127.0.0.10").quit()
    assert pam.stuck_count() == 1, "one address holds more than its share"
    for served in range(1, len(greedy) + 1):
        wait.until(lambda count=served: pam.stuck_count() == count, "the next of them")
        pam.release()
    for one in greedy:
        one.reply(235)
        one.close()


def test_waiting_for_a_worker_has_an_end(start, backend, pam):
    """454 in time, also for one that waits behind the other."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "timeout": 1})
    first, second = postern.connect(), postern.connect(source="127.0.0.10")
    with first, second:
        for one in (first, second):
            one.ehlo()
        submit(first, "bob", "builder")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        second.login("bob", "builder", 454)
        first.reply(454)
        pam.release()
    wait.until(lambda: can_log_in(postern), "a worker again")


def test_login_that_was_told_to_come_back_holds_no_worker(start, pam, backend):
    """The second one gets the only worker when half of its time is over. If it kept it for a whole
    time of its own, alice's would end before."""
    time_limit = 6
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "timeout": time_limit})
    clients = [postern.connect(source=f"127.0.0.{host}") for host in (10, 11, 12)]
    for one in clients:
        one.ehlo()
    first, second, alice = clients
    submit(first, "bob", "builder")
    wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
    assert not is_answered(first, time_limit / 2)
    submit(second, "bob", "builder")
    assert not is_answered(first, time_limit / 2 - 0.5)
    submit(alice, "alice", "wonderland")
    first.reply(454)
    wait.until(lambda: pam.stuck_count() == 2, "the second in the module")
    second.reply(454)
    alice.reply(235)
    for one in clients:
        one.close()


def is_answered(one, seconds):
    """Does anything come to this client within that time?"""
    return bool(select.select([one.socket], [], [], seconds)[0])


def can_log_in(postern):
    with postern.connect(source="127.0.0.11") as one:
        one.ehlo()
        return one.login("alice", "wonderland", 235, 454).code == 235


def test_queue_of_logins_is_bounded(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "queue": 2})
    clients = [refused_client(postern, number) for number in range(4)]
    submit(clients[0], "bob", "builder")
    wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
    submit(clients[1], "alice", "wonderland")
    submit(clients[2], "alice", "wonderland")
    # They have arrived when a later command of another client has been answered.
    postern.connect().ehlo()
    clients[3].login("alice", "wonderland", 454)
    pam.release()
    for one in clients[:3]:
        one.reply(235)
        one.close()


# what a refusal tells

def refusals(postern, logins):
    """[(reply, seconds)] of logins that are tried at the same time, from an address each."""
    def refuse(number, user, password):
        with refused_client(postern, number) as one:
            began = time.monotonic()
            return one.login(user, password, 535), time.monotonic() - began
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(refuse, range(len(logins)), *zip(*logins)))


def test_refusals_read_alike_and_take_alike(start, backend):
    """Threat 15: unknown, wrong password, refused account."""
    postern = start(backend, auth={"failure_delay": 1, "workers": 4})
    told = refusals(postern, [("nobody-knows-me", "x"), ("alice", "wrong"), LOCKED,
                              ("alice", "x" * 1024)])
    assert all(reply == told[0][0] for reply, _ in told)
    assert all(0.99 <= seconds < 1.5 for _, seconds in told), told


@needs_root
def test_refusals_of_the_system_read_alike(start, backend, system_user, other_system_user):
    """pam_unix asks for a delay where the password is wrong, and for none where the account has
    expired."""
    postern = start(backend, auth={"pam_service": "unix", "failure_delay": 4, "workers": 4})
    other_system_user.expire()
    told = refusals(postern, [(system_user.name, "wrong"), ("postern-nobody-knows-me", "wrong"),
                              (other_system_user.name, other_system_user.password)])
    assert all(reply == told[0][0] for reply, _ in told)
    assert all(3.99 <= seconds < 4.6 for _, seconds in told), told


# the worker

def test_worker_lives_through_many_logins(start, backend):
    postern = start(backend, auth={"workers": 1})
    worker = postern.sole("auth worker")
    for number in range(30):
        user, password = list(USERS.items())[number % len(USERS)]
        postern.log_in(user, password).close()
    assert postern.pids("auth worker") == [worker]


@needs_root
def test_worker_has_no_descriptor_but_its_socket_and_the_log(postern):
    """Threat 21: no listener, no client, no key."""
    postern.log_in().quit()

    def is_bare(pid):
        held = list(processes.descriptors(pid).values())
        sockets = [what for what in held if what.startswith("socket:")]
        return len(sockets) == 1 and set(held) - set(sockets) <= {
            "/dev/null", str(postern.log_path)}
    for worker in postern.team("auth worker", 2):
        # While it starts, it reads PAM's files.
        wait.until(lambda pid=worker: is_bare(pid), "nothing but a socket and the log")


@needs_root
def test_worker_can_be_another_user(start, backend):
    postern = start(backend, auth={"user": "news"})
    postern.log_in().quit()
    for worker in postern.team("auth worker", 2):
        # It begins as root.
        wait.until(lambda pid=worker: processes.status(pid, "Uid").split() ==
                   [str(pwd.getpwnam("news").pw_uid)] * 4, "the user")
