"""Two machines with one Redis: what one of them counts, the other knows; nobody waits for it."""

import re

import pytest

from support import control, postern as posterns, wait
from support.redis import Redis
from test_abuse import LIMITS, fail, is_put_off
from test_posternctl import DONE, ctl

SHARED = re.compile("^limits are shared through Redis at ")
ALONE = re.compile("^limits are not shared: ")

pytestmark = pytest.mark.skipif("hiredis: yes" not in posterns.run("-V").stdout,
                                reason="built without hiredis")


@pytest.fixture
def redis(scratch):
    made = Redis(scratch / "redis")
    yield made
    made.stop()


@pytest.fixture
def machine(start, backend, redis):
    def run(**limits):
        made = start(backend, limits={**LIMITS, "shared": redis.url(), **limits},
                     auth={"attempts": 100})
        made.wait_for_record(msg=SHARED)
        return made
    return run


def test_attacker_who_is_put_off_at_one_machine_is_put_off_at_the_other(machine, redis):
    one, other = machine(), machine()
    fail(one, 3, "127.0.1.1")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "3")
    assert is_put_off(other, "127.0.1.1")
    assert not is_put_off(other, "127.0.1.2")


def test_failures_at_both_machines_are_added_up(machine, redis):
    one, other = machine(), machine()
    fail(one, 2, "127.0.1.1")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "2")
    fail(other, 1, "127.0.1.1")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "3")
    assert is_put_off(one, "127.0.1.1") and is_put_off(other, "127.0.1.1")


def test_user_name_is_guessed_no_more_often_at_two_machines(machine, redis):
    settings = {"failed_logins": 0, "failed_logins_user": 3}
    one, other = machine(**settings), machine(**settings)
    for last in (1, 2, 3):
        fail(one, 1, f"127.0.{last}.1", "carol")
    redis.wait_for("GET", "postern:failed-user:carol", until=lambda n: n == "3")
    # The first trial there is what asks; at the second it is known.
    with other.connect(source="127.0.4.1") as client:
        client.ehlo()
        client.login("carol", "wrong", 535, 454)
    assert is_put_off(other, "127.0.5.1", "carol", "x")
    assert not is_put_off(other, "127.0.4.1", "bob", "builder")


def test_user_who_is_trusted_at_one_machine_is_trusted_at_the_other(machine, redis):
    one, other = machine(), machine()
    assert not is_put_off(one, "127.0.1.1", "Alice".lower())
    assert redis.wait_for("ZRANGE", "postern:trust:127.0.1.1", 0, -1) == ["alice"]
    fail(one, 3, "127.0.1.1", "mallory")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "3")
    assert is_put_off(other, "127.0.1.1", "bob", "builder")
    assert not is_put_off(other, "127.0.1.1", "alice")


def test_stolen_account_is_stopped_at_both_machines(machine, redis):
    one, other = (machine(messages_per_hour=2) for _ in range(2))
    for each in (one, other):
        with each.log_in() as client:
            client.send_message("a@b.test", ["c@d.test"], b"x\r\n")
            client.quit()
        redis.wait_for("EXISTS", "postern:messages:alice")
    redis.wait_for("GET", "postern:messages:alice", until=lambda n: n == "2")
    for each in (one, other):
        with each.log_in() as client:
            client.command("NOOP", 250)
            client.command("MAIL FROM:<a@b.test>", 450)
            client.quit()


@pytest.mark.parametrize("way", ["renamed", "permitted"])
def test_quota_of_who_is_somebody_else_behind_the_login_is_shared_too(start, backend, redis, way):
    """By the name that PAM, or the postmaster, has given: the one that is counted."""
    settings = {"limits": {**LIMITS, "shared": redis.url(), "messages_per_hour": 1}}
    if way == "renamed":
        settings |= {"auth": {"pam_service": "renamed"}, "environment": {"PAM_USER": "printer"}}
    one, other = (start(backend, **settings) for _ in range(2))
    for each in (one, other):
        each.wait_for_record(msg=SHARED)
        if way == "permitted":
            control.post(each, "/permit?address=127.0.0.9&user=printer")

    def begin(postern):
        client = postern.connect()
        client.ehlo()
        if way == "renamed":
            client.login("alice", "wonderland")
        return client
    with begin(one) as client:
        client.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        client.quit()
    redis.wait_for("GET", "postern:messages:printer", until=lambda n: n == "1")
    with redis.watching() as seen, begin(other) as client:
        if way == "renamed":  # asked when PAM has decided; otherwise at MAIL, which waits longer
            wait.until(lambda: seen("postern:messages:printer"), "the other one's question")
        client.command("NOOP", 250)
        client.command("MAIL FROM:<a@b.test>", 450)
        client.quit()


def test_what_a_postmaster_finds_in_redis_goes_by_itself(machine, redis):
    one = machine(forgive=100)
    fail(one, 2, "127.0.1.1")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "2")
    assert 190_000 < redis.ask("PTTL", "postern:failed-address:127.0.1.1") <= 200_000
    assert all(redis.ask("PTTL", key) > 0 for key in redis.ask("KEYS", "*"))
    assert all(key.startswith("postern:") for key in redis.ask("KEYS", "*"))


def shared_as_people_see_it(postern):
    status, out, _ = ctl(control.path_of(postern), "status")
    assert status == DONE
    return re.search("^limits shared  (.*)$", out, re.MULTILINE)[1]


def test_machine_goes_on_alone_while_redis_is_away_and_shares_again_behind_it(machine, redis):
    one, other = machine(), machine()
    redis.kill()
    one.wait_for_record(msg=ALONE)
    assert shared_as_people_see_it(one) == "no: the server cannot be had"
    assert control.metrics(one)['postern_limits_shared{state="alone"}'] == 1
    fail(one, 3, "127.0.1.1")
    assert is_put_off(one, "127.0.1.1")
    assert not is_put_off(one, "127.0.1.2")
    redis.start()
    for each in (one, other):
        each.wait_for_record(msg=SHARED, count=2)
    assert shared_as_people_see_it(one) == "yes"
    assert control.metrics(one)['postern_limits_shared{state="shared"}'] == 1
    fail(one, 3, "127.0.1.3")
    redis.wait_for("GET", "postern:failed-address:127.0.1.3", until=lambda n: n == "3")
    assert is_put_off(other, "127.0.1.3")
    assert len(one.find_records(msg=ALONE)) == 1


def test_what_stands_in_redis_in_another_shape_hurts_nobody(machine, redis):
    redis.ask("SET", "postern:trust:127.0.1.1", "x")
    redis.ask("RPUSH", "postern:failed-address:127.0.1.1", "x")
    one = machine()
    assert not is_put_off(one, "127.0.1.1")
    fail(one, 3, "127.0.1.1")
    redis.wait_for("GET", "postern:failed-address:127.0.1.1", until=lambda n: n == "3")
    assert redis.ask("ZRANGE", "postern:trust:127.0.1.1", 0, -1) == ["alice"]
    assert not one.find_records(msg=ALONE)


def test_reload_shares_on(machine, redis):
    one, other = machine(), machine()
    fail(one, 3, "127.0.1.1")
    other.reload()
    other.wait_for_record(msg=SHARED, count=2)
    assert is_put_off(other, "127.0.1.1")


@pytest.mark.parametrize("login, arguments", [
    (":right%40word", "--requirepass right@word".split()),
    ("mail:word", "--user mail on >word ~postern:* +@all --user default off".split())])
def test_password(start, backend, scratch, login, arguments):
    redis = Redis(scratch / "redis", *arguments)
    try:
        one = start(backend, limits={**LIMITS, "shared": redis.url(login, 3)})
        one.wait_for_record(msg=SHARED)
    finally:
        redis.stop()


def test_wrong_password_is_told_and_not_shown(start, backend, scratch):
    redis = Redis(scratch / "redis", "--requirepass", "right")
    try:
        one = start(backend, limits={**LIMITS, "shared": redis.url(":guessed")})
        record = one.wait_for_record(msg=ALONE)
        assert "password" in record["msg"] and "WRONGPASS" in record["msg"]
        assert "guessed" not in one.output()
        assert not is_put_off(one, "127.0.1.1")
        one.wait_for_record(msg=re.compile("everybody may read this file"))
    finally:
        redis.stop()


def test_user_without_rights_is_told_at_once(start, backend, scratch):
    redis = Redis(scratch / "redis", *"--user mail on >word ~postern:* +ping".split())
    try:
        one = start(backend, limits={**LIMITS, "shared": redis.url("mail:word")})
        assert "NOPERM" in one.wait_for_record(msg=ALONE)["msg"]
        assert not one.find_records(msg=SHARED)
    finally:
        redis.stop()
