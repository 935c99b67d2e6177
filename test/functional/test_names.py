"""The client's name from the DNS: told when it is confirmed, never waited for too soon."""

import time

import pytest

from support import dns, wait


@pytest.fixture
def resolving(start, backend, nameserver):
    def run(**changes):
        return start(backend, nameservers=[nameserver.address],
                     **{"backend": {"resolve": True, "trace": True}, **changes})
    return run


def name_told(postern, backend, number=0):
    with postern.log_in(source="127.0.0.33") as one:
        one.send_message("a@b.test", ["c@d.test"], b"")
        one.quit()
    session = backend.session(number)
    return session.identity["NAME"], session.messages[0]


def test_confirmed_name_is_told(resolving, backend, nameserver):
    nameserver.names["127.0.0.33"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.33"
    name, message = name_told(resolving(), backend)
    assert name == "laptop.example.org"
    assert b"from client.example (laptop.example.org [127.0.0.33])" in message


@pytest.mark.parametrize("address", [None, "127.0.0.34"])
def test_name_that_does_not_lead_back_is_none(resolving, backend, nameserver, address):
    """Whoever owns an address writes into its PTR record what he likes."""
    nameserver.names["127.0.0.33"] = "mx.bank.example"
    nameserver.addresses["mx.bank.example"] = address
    name, message = name_told(resolving(), backend)
    assert name == "[UNAVAILABLE]" and b"bank" not in message
    wait.until(lambda: ("mx.bank.example", dns.A) in nameserver.asked, "the question")


@pytest.mark.parametrize("labels", [["evil name", "test"], [b"a\r\nXCLIENT", "test"],
                                    ["x)", "test"], ["[UNAVAILABLE]"], [b"\xff\xfe", "test"],
                                    ["a" * 63] * 4])
def test_threat_10_name_that_is_none_is_not_told(resolving, backend, nameserver, labels):
    nameserver.names["127.0.0.33"] = labels
    name, _ = name_told(resolving(), backend)
    assert name == "[UNAVAILABLE]"
    assert b"evil" not in backend.everything_received()
    assert backend.session().verbs.count("XCLIENT") == len(backend.session().xclient)


def test_name_server_that_is_silent_delays_neither_greeting_nor_anything_before_the_login(
        resolving, backend, nameserver):
    """The deadline counts from the connection."""
    nameserver.silent = True
    postern = resolving(timeouts={"resolve": 2})
    began = time.monotonic()
    with postern.connect(source="127.0.0.33") as one:
        one.ehlo()
        assert time.monotonic() - began < 1.5
        one.login("alice", "wonderland")
        assert time.monotonic() - began > 1.9
        assert backend.session().identity["NAME"] == "[UNAVAILABLE]"
        one.quit()
    assert nameserver.asked


def test_client_that_leaves_while_its_name_is_looked_up_harms_nobody(resolving, nameserver):
    nameserver.silent = True
    postern = resolving(timeouts={"resolve": 60})
    with postern.connect(source="127.0.0.33") as one:
        one.ehlo()
        one.send("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n")
        wait.until(lambda: nameserver.asked, "the question")
        one.reset()
    assert postern.session_record(one)["end"]
    nameserver.silent = False
    with postern.log_in(source="127.0.0.34") as two:
        two.quit()


def test_without_the_option_nobody_is_asked(start, backend, nameserver):
    postern = start(backend, nameservers=[nameserver.address])
    with postern.log_in() as one:
        one.quit()
    assert not nameserver.asked
