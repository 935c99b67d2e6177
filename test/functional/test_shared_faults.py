"""A Redis that is broken or hostile: the limits of this machine go on, and nobody waits."""

import re
import socket
import statistics
import threading
import time

import pytest

from support import wait
from support.redis import OddRedis, commands
from test_abuse import LIMITS, fail, is_put_off
from test_shared import ALONE, SHARED, pytestmark  # noqa: F401


@pytest.fixture
def odd(start, backend):
    """odd(answer) -> a Postern, and the server that answers so."""
    servers = []

    def run(answer, **options):
        servers.append(OddRedis(answer, **options))
        return start(backend, limits={**LIMITS, "shared": servers[-1].url},
                     auth={"attempts": 100}), servers[-1]
    yield run
    for each in servers:
        each.close()


def limits_of_its_own_go_on(postern):
    assert not is_put_off(postern, "127.0.1.2")
    fail(postern, 3, "127.0.1.1")
    assert is_put_off(postern, "127.0.1.1")
    assert not is_put_off(postern, "127.0.1.3")


def integers(value):
    """What answers each command with an integer."""
    return lambda data: b":%d\r\n" % value * len(commands(data))


GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing of the kind": bytes(range(256)) * 10,
    "endless line": b"+" + b"x" * 2_000_000,
    "endless string": b"$400000000\r\n" + b"x" * 2_000_000,
    "negative string": b"$-5\r\n",
    "list of two thousand million": b"*2000000000\r\n",
    "list of lists": b"*1\r\n" * 50,
    "list of the unfinished": b"*100\r\n:1\r\n",
    "twice": b":1\r\n:1\r\n:1\r\n",
    "integer beyond all": b":99999999999999999999999999\r\n",
    "empty error": b"-\r\n",
    "error with lines": b"-ERR \x1b[31m\x00\tuser=root\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_hurts_nobody(odd, garbage):
    postern, _ = odd(lambda data: garbage)
    postern.wait_for_record(msg=ALONE)
    limits_of_its_own_go_on(postern)


def test_reply_that_nobody_has_asked_for_hurts_nobody(odd):
    postern, _ = odd(lambda data: None, greeting=b"+OK\r\n:5\r\n")
    postern.wait_for_record(msg=ALONE)
    limits_of_its_own_go_on(postern)


@pytest.mark.parametrize("reply", [
    b"$5\r\nalice\r\n", b"$-1\r\n", b"*-1\r\n", b"*0\r\n", b"+OK\r\n", b"*1\r\n:1\r\n",
    b"*3\r\n:1\r\n$1\r\nx\r\n$0\r\n\r\n", b"*4\r\n$1\r\nx\r\n:-1\r\n$-1\r\n:1\r\n", b":-2\r\n",
    b"*2\r\n$300\r\n" + b"y" * 300 + b"\r\n:9223372036854775807\r\n"])
def test_replies_of_a_wrong_type_change_nothing(odd, reply):
    postern, _ = odd(lambda data: reply * len(commands(data)))
    postern.wait_for_record(msg=SHARED)
    limits_of_its_own_go_on(postern)
    assert not postern.find_records(msg=ALONE)


def test_highest_level_is_forgotten_in_time_too(start, backend):
    """What the server claims is held against nobody beyond twice the limit."""
    server = OddRedis(integers(2 ** 63 - 1))
    postern = start(backend, limits={**LIMITS, "forgive": 1, "shared": server.url})
    try:
        postern.wait_for_record(msg=SHARED)
        wait.until(lambda: is_put_off(postern, "127.0.1.1"), "what the server claims")
        server.close()
        postern.configure(limits={"shared": ""})
        postern.reload()
        wait.until(lambda: not is_put_off(postern, "127.0.1.2"), "another address")
        assert any(not (threading.Event().wait(pause) or is_put_off(postern, "127.0.1.1"))
                   for pause in (6, 8))
    finally:
        server.close()


def _login_times(postern, count=12):
    times = []
    for _ in range(count):
        with postern.connect(source="127.0.1.9") as one:
            one.ehlo()
            begin = time.monotonic()
            one.login("alice", "wonderland")
            times.append(time.monotonic() - begin)
            one.quit()
    return statistics.median(times)


def test_logins_do_not_wait_for_a_server_that_never_answers(odd, start, backend):
    alone = start(backend, limits=LIMITS)
    heard = []

    def falls_silent(data):
        heard.extend(commands(data))
        return b":1\r\n" if len(heard) == 1 else None
    postern, server = odd(falls_silent)
    postern.wait_for_record(msg=SHARED)
    usual = _login_times(alone)
    assert _login_times(postern) < usual * 3 + 0.05
    record = postern.wait_for_record(msg=ALONE)
    assert "does not answer in time" in record["msg"]
    limits_of_its_own_go_on(postern)
    wait.until(lambda: server.connections > 1, "another trial")


def test_no_more_than_so_much_waits_for_a_server_that_never_answers(odd):
    """Promise 9."""
    heard = []

    def falls_silent(data):
        heard.append(data)
        return b":1\r\n" if len(heard) == 1 else None
    postern, server = odd(falls_silent)
    postern.wait_for_record(msg=SHARED)
    for _ in range(1500):
        socket.create_connection(postern.starttls, wait.PATIENCE, ("127.0.1.9", 0)).close()
        if server.connections > 1:
            break
    postern.wait_for_record(msg=ALONE)
    asked = b"".join(heard).count(b"PTTL\r\n$") + b"".join(heard).count(b"ZREVRANGE")
    assert 100 < asked <= 1000
    limits_of_its_own_go_on(postern)


def test_server_that_takes_no_connection_is_told_once(start, backend):
    port = wait.free_port()
    postern = start(backend, limits={**LIMITS, "shared": f"redis://127.0.0.1:{port}"})
    record = postern.wait_for_record(msg=ALONE)
    assert "refused" in record["msg"] and f"127.0.0.1:{port}" in record["msg"]
    limits_of_its_own_go_on(postern)
    assert len(postern.find_records(msg=ALONE)) == 1
    postern.stop()


def test_error_in_the_middle_is_told_in_one_record(odd):
    heard = []

    def refuses_later(data):
        heard.extend(commands(data))
        return b":1\r\n" if len(heard) == 1 else b"-READONLY \x1b[31m user=root\x01\r\n"
    postern, _ = odd(refuses_later)
    postern.wait_for_record(msg=SHARED)
    limits_of_its_own_go_on(postern)
    record = postern.wait_for_record(msg=re.compile("READONLY"))
    assert "user" not in record
