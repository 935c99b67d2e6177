"""Several backends behind one listener: who is asked, who gives way, who comes back."""

import re
import threading

import pytest

from support import wait
from support.backend import Backend


@pytest.fixture
def pair():
    made = [Backend(), Backend()]
    yield made
    for each in made:
        each.close()


def start_pair(start, pair, order="failover", check=1, identity="auto", **changes):
    from support.wait import free_port
    one, two = pair
    implicit = free_port()
    made = start(one, backend={"one": {"address": one.address, "check": check,
                                       "identity": identity},
                               "two": {"address": two.address, "check": check,
                                       "identity": identity}},
                 listen={"submissions": {"address": f"127.0.0.1:{implicit}", "tls": "implicit",
                                         "backend": ["one", "two"], "backend_order": order}},
                 **changes)
    made.implicit = ("127.0.0.1", implicit)
    return made


def both_are_known(postern, pair):
    for each in pair:
        each.wait(lambda each=each: any(c.has_quit for c in each.connections), "no probe")


def session(postern):
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    return postern.session_record(one)


def test_first_of_the_list_gets_the_sessions(start, pair):
    postern = start_pair(start, pair)
    both_are_known(postern, pair)
    assert {session(postern)["backend"] for _ in range(3)} == {"one"}
    assert not pair[1].sessions


def test_each_gets_its_turn(start, pair):
    postern = start_pair(start, pair, order="balance")
    both_are_known(postern, pair)
    assert sorted(session(postern)["backend"] for _ in range(6)) == ["one"] * 3 + ["two"] * 3


def test_client_does_not_notice_that_a_backend_is_down(start, pair):
    """The session that finds out goes to the next one, and hears of nothing."""
    postern = start_pair(start, pair, check=0)
    both_are_known(postern, pair)
    pair[0].stop_listening()
    assert session(postern)["backend"] == "two"
    record = postern.wait_for_record(event="backend passed over")
    assert "refused" in record["cause"] and record["level"] == "notice"
    assert record["backend"] == "one"
    assert session(postern)["backend"] == "two"
    assert len(postern.find_records(event="backend passed over")) == 1
    assert not postern.find_records(event="session refused")
    assert len(pair[1].sessions[0].messages) == 1


def test_backend_that_takes_no_identity_is_passed_over_and_hears_nothing(start, pair):
    """Promise 3 holds for each of them."""
    pair[0].on("XCLIENT", "550 5.7.1 No")
    postern = start_pair(start, pair)
    both_are_known(postern, pair)
    assert session(postern)["backend"] == "two"
    for connection in pair[0].connections:
        assert set(connection.verbs) <= {"EHLO", "XCLIENT", "QUIT"}


def test_none_left_is_454_once(start, pair):
    postern = start_pair(start, pair)
    both_are_known(postern, pair)
    for each in pair:
        each.on("connect", lambda connection, _: connection.drop())
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
        one.expect_closed()
    assert [(r["event"], r["backend"], r.get("backend_address"))
            for r in postern.find_records(event=re.compile("passed over|refused"))] \
        == [("backend passed over", "one", None), ("session refused", "two", pair[1].address)]


@pytest.mark.parametrize("one_says, two_says, told", [
    ("554 5.7.1 One", "554 5.7.1 Two", "554 5.7.1 Two"),
    ("554 5.7.1 One", "421 4.3.2 Two", "421 4.3.2 Two"),
    ("421 4.3.2 One", "554 5.7.1 Two", None), (None, "554 5.7.1 Two", None),
])
def test_threat_39_for_good_is_only_what_all_say(start, pair, one_says, two_says, told):
    """A client that comes again may get through, at the one that is busy or down now."""
    postern = start_pair(start, pair, check=0)
    both_are_known(postern, pair)
    for each, says in zip(pair, (one_says, two_says)):
        each.on("XCLIENT", says or (lambda connection, _: connection.drop()))
    with postern.connect() as one:
        one.ehlo()
        if told:
            one.login("alice", "wonderland")
            reply = one.command("MAIL FROM:<a@b.test>")
            assert f"{reply.code} {reply.text}" == told
        else:
            one.login("alice", "wonderland", 454)
            one.expect_closed()


def test_dead_one_is_left_out_and_comes_back(start, pair):
    """The check sees that it answers again; sessions had not had to try it."""
    postern = start_pair(start, pair)
    both_are_known(postern, pair)
    pair[0].on("connect", "421 4.3.2 Not now")
    postern.wait_for_record(level="warning", msg=re.compile(r"backend one: .*421"))
    assert session(postern)["backend"] == "two"
    assert not postern.find_records(event=re.compile("passed over|refused"))
    del pair[0].actions["connect"]
    postern.wait_for_record(msg="backend one: answers again")
    assert session(postern)["backend"] == "one"


def test_backend_that_a_session_found_down_is_asked_soon(start, pair):
    """A restart of the mail server takes it out of service for seconds, not until the next check."""
    postern = start_pair(start, pair, check=600)
    both_are_known(postern, pair)
    pair[0].on("connect", lambda connection, _: connection.drop())
    assert session(postern)["backend"] == "two"
    postern.wait_for_record(level="warning", msg=re.compile("backend one: "))
    del pair[0].actions["connect"]
    postern.wait_for_record(msg="backend one: answers again")
    assert session(postern)["backend"] == "one"


def test_client_that_a_backend_refuses_takes_it_from_nobody_else(start, pair):
    """Who may send anything as his name could otherwise put the first server out of service."""
    for each in pair:
        each.on("EHLO", lambda connection, line: connection.ehlo()
                if b"bad_name" not in line else connection.say("550 5.7.1 Not that name"))
    postern = start_pair(start, pair, check=0)
    both_are_known(postern, pair)
    with postern.connect() as one:
        one.ehlo("bad_name")
        one.login("alice", "wonderland")
        assert one.command("MAIL FROM:<a@b.test>", 550).lines == ["5.7.1 Not that name"]
        one.quit()
    assert session(postern)["backend"] == "one"
    assert not postern.find_records(level="warning", msg=re.compile("backend one:"))


def test_client_refused_behind_its_header_takes_the_backend_from_nobody_else(start, pair):
    """The greeting is the client's own, where the server has heard of him before it."""
    pair[0].on("connect", lambda connection, line: connection.say(
        "554 5.7.1 Listed" if b" 127.0.0.66 " in connection._line() else "220 fake.test ESMTP"))
    pair[1].on("connect", lambda connection, line: (connection._line(),
                                                    connection.say("220 fake.test ESMTP")))
    postern = start_pair(start, pair, check=0, identity="proxy-v1")
    both_are_known(postern, pair)
    with postern.log_in(source="127.0.0.66") as one:
        one.quit()
    assert postern.session_record(one)["backend"] == "two"
    assert session(postern)["backend"] == "one"


BAD = b"127.0.0.66"


@pytest.mark.parametrize("way", ["close", "reset", "slow"])
@pytest.mark.parametrize("identity", ["proxy-v1", "xclient"])
def test_client_whom_a_backend_drops_or_lets_wait_takes_it_from_nobody_else(
        start, pair, identity, way):
    """Greylists, tarpits and policies that break for one of them are no outage."""
    ends = threading.Event()

    def spoil(connection):
        if way == "slow":
            connection.hold(ends)
        connection.reset() if way == "reset" else connection.drop()

    def greet(connection, _):
        if identity == "proxy-v1" and BAD in connection._line() and connection.backend is pair[0]:
            spoil(connection)
        connection.say("220 fake.test ESMTP")

    def become(connection, line):
        if BAD in line and connection.backend is pair[0]:
            spoil(connection)
        connection.say("220 fake.test ESMTP")
    for each in pair:
        each.on("connect", greet).on("XCLIENT", become)
    postern = start_pair(start, pair, check=0, identity=identity,
                         timeouts={"backend_connect": 1, "backend_identity": 2})
    both_are_known(postern, pair)
    with postern.log_in(source=BAD.decode()) as one:
        one.quit()
    assert postern.session_record(one)["backend"] == "two"
    assert [session(postern)["backend"] for _ in range(2)] == ["one", "one"]
    assert not postern.find_records(level="warning", msg=re.compile("backend one:"))
    ends.set()


def test_backend_that_drops_whoever_comes_is_left_out_all_the_same(start, pair):
    """Behind a PROXY header that may be the client; a probe finds out."""
    pair[1].on("connect", lambda connection, line: (connection._line(),
                                                    connection.say("220 fake.test ESMTP")))
    pair[0].on("connect", pair[1].actions["connect"])
    postern = start_pair(start, pair, check=0, identity="proxy-v1")
    both_are_known(postern, pair)
    pair[0].on("connect", lambda connection, line: connection.drop())
    assert session(postern)["backend"] == "two"
    postern.wait_for_record(level="warning", msg=re.compile("backend one:"))
    tried = len(pair[0].sessions)
    assert session(postern)["backend"] == "two" and len(pair[0].sessions) == tried


def test_check_takes_its_leave(start, pair):
    """EHLO and QUIT, and nothing else, again and again."""
    start_pair(start, pair)
    for each in pair:
        each.wait(lambda each=each: sum(c.has_quit for c in each.connections) >= 2, "no check")
        assert all(c.verbs in (["EHLO"], ["EHLO", "QUIT"], []) for c in each.connections)


def test_only_backend_is_not_asked_for_ever(start, backend):
    """A log full of checks helps nobody when there is no choice."""
    postern = start(backend, backend={"check": 1})
    backend.wait(lambda: any(c.has_quit for c in backend.connections), "no probe")
    wait.until(lambda: session(postern)["duration_ms"] is not None, "a session")
    assert sum(c.is_probe for c in backend.connections) == 1


def test_ehlo_offers_what_both_offer(start, pair):
    """Threat 26: whoever it will be, it can do that."""
    pair[0].extensions = ("PIPELINING", "SIZE 5000", "8BITMIME", "CHUNKING", "LIMITS RCPTMAX=5")
    pair[1].extensions = ("SIZE 3000", "8BITMIME", "DSN", "PIPELINING", "LIMITS RCPTMAX=7")
    postern = start_pair(start, pair)
    wanted = {"PIPELINING", "SIZE", "8BITMIME", "AUTH"}
    wait.until(lambda: set(postern.connect().ehlo()) == wanted, "the common offer")
    assert postern.connect().ehlo()["SIZE"] == "3000"


def test_login_that_waits_for_a_silent_backend_goes_on_to_the_next(start, pair):
    postern = start_pair(start, pair, check=0,
                         timeouts={"backend_connect": 1, "backend_identity": 2})
    both_are_known(postern, pair)
    pair[0].on("connect", lambda connection, line: None)
    assert session(postern)["backend"] == "two"
