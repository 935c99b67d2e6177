"""The client's name from the DNS: told when it is confirmed, never waited for too soon."""

import re
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


@pytest.mark.parametrize("name", [
    "a-.b.example", "a.-b.example", "a.b-", "-a.example", "1.2.3.4", "12345", "mail.example.123",
    ["mail\u115fx", "example"], ["\u3164", "example"],
    ["\uffa0mail", "example"], ["ma\u2800il", "example"]])
def test_threat_48_name_that_is_no_host_name_is_not_told(resolving, backend, nameserver, name):
    """Postfix answers XCLIENT NAME with 501 to these, and no login would have come to pass."""
    nameserver.names["127.0.0.33"] = name
    nameserver.any_address = "127.0.0.33"
    told, message = name_told(resolving(), backend)
    assert told == "[UNAVAILABLE]" and b"client.example ([127.0.0.33])" in message
    assert not [each for each, kind in nameserver.asked if kind == dns.A]


@pytest.mark.parametrize("labels, before", [
    ([b"laptop\0evil", "example", "org"], "laptop"),
    (["laptop", "example", b"org\0", "evil", "example"], "laptop.example.org"),
    ([b"laptop.example.org\0\0 x"], "laptop.example.org"),
])
def test_threat_48_name_with_a_nul_in_it_is_no_name(resolving, backend, nameserver, labels, before):
    """Also where what stands before the NUL leads back."""
    nameserver.names["127.0.0.33"] = labels
    nameserver.addresses[before] = "127.0.0.33"
    told, message = name_told(resolving(), backend)
    assert told == "[UNAVAILABLE]" and b"laptop" not in message


@pytest.mark.parametrize("name", ["a", "1.2.3.a", "1-2-3-4.dsl.example", "x_y.example",
                                  "xn--mller-kva.example", "a" * 55 + ".example"])
def test_odd_host_name_is_one(resolving, backend, nameserver, name):
    nameserver.names["127.0.0.33"] = name
    nameserver.addresses[name] = "127.0.0.33"
    assert name_told(resolving(), backend)[0] == name


def test_name_server_that_is_silent_delays_neither_greeting_nor_anything_before_the_login(
        resolving, backend, nameserver):
    """The deadline counts from the login."""
    nameserver.silent = True
    postern = resolving(timeouts={"resolve": 2})
    with postern.connect(source="127.0.0.33") as one:
        one.ehlo()
        assert not nameserver.asked
        began = time.monotonic()
        one.login("alice", "wonderland")
        assert time.monotonic() - began > 1.9
        assert backend.session().identity["NAME"] == "[UNAVAILABLE]"
        one.quit()
    assert nameserver.asked


def test_name_server_that_refuses_costs_a_login_no_time(start, backend):
    """Nothing listens on its port, which the kernel says at once. Twelve logins would wait for
    four seconds each."""
    port = wait.free_port()
    postern = start(backend, nameservers=[f"127.0.0.1:{port}"], backend={"resolve": True})
    deadline = time.monotonic() + wait.PATIENCE
    for _ in range(12):
        postern.log_in(source="127.0.0.33").quit()
    assert time.monotonic() < deadline
    assert len(postern.find_records(level="warning", msg=re.compile("^DNS: .*refuse"))) == 1


def test_name_server_that_was_refusing_is_asked_again(start, backend):
    port = wait.free_port()
    postern = start(backend, nameservers=[f"127.0.0.1:{port}"], backend={"resolve": True})
    postern.log_in(source="127.0.0.33").quit()
    nameserver = dns.NameServer(("127.0.0.1", port))
    nameserver.names["127.0.0.33"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.33"

    def is_named():
        with postern.log_in(source="127.0.0.33") as one:
            one.quit()
        return backend.sessions[-1].identity["NAME"] == "laptop.example.org"
    wait.until(is_named, "the name")
    postern.wait_for_record(level="notice", msg=re.compile("^DNS: .*answer again"))
    nameserver.close()


def test_name_server_that_refuses_beside_one_that_answers_is_not_asked(start, backend, nameserver):
    """Else every other login would wait for it."""
    nameserver.names["127.0.0.33"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.33"
    postern = start(backend, nameservers=[f"127.0.0.1:{wait.free_port()}", nameserver.address],
                    backend={"resolve": True})
    deadline = time.monotonic() + wait.PATIENCE
    for number in range(24):
        name, _ = name_told(postern, backend, number)
        assert name == "laptop.example.org"
    assert time.monotonic() < deadline


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


@pytest.fixture
def good(nameserver):
    """One whose name is in the DNS, among others whose zone does not answer."""
    nameserver.names["127.0.0.33"] = "laptop.example.org"
    nameserver.addresses["laptop.example.org"] = "127.0.0.33"
    nameserver.silent_zones = ("127.0.1.", "127.0.2.", "127.0.3.")


def test_connections_of_those_who_do_not_log_in_cost_nobody_his_name(resolving, backend,
                                                                     nameserver, good):
    postern = resolving()
    idle = [postern.connect(tls=None, source=f"127.0.1.{number}") for number in range(1, 100)]
    name, _ = name_told(postern, backend)
    assert name == "laptop.example.org"
    assert {asked for asked, kind in nameserver.asked if kind == dns.PTR} \
        == {"33.0.0.127.in-addr.arpa"}
    for each in idle:
        each.close()


@pytest.fixture
def mx(resolving):
    port = wait.free_port()
    made = resolving(timeouts={"resolve": 60}, listen={
        "mx": {"address": f"127.0.0.1:{port}", "role": "mx", "recipients": ["example.org"]}})
    made.starttls = ("127.0.0.1", port)
    return made


def ask_for_strangers(postern, network, hosts=range(1, 100)):
    """Each in the middle of MAIL, and its zone does not answer."""
    made = [postern.connect(tls=None, source=f"127.0.{network}.{host}") for host in hosts]
    for each in made:
        each.ehlo()
        each.send("MAIL FROM:<a@sender.example>\r\n")
    return made


def is_known(postern, backend):
    with postern.connect(tls=None, source="127.0.0.33") as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.quit()
    return any(each.identity.get("NAME") == "laptop.example.org" for each in backend.sessions)


def test_networks_whose_zone_is_silent_take_no_more_than_their_share(mx, backend, nameserver,
                                                                     good):
    """The others of them go on without a name at once, as do all when it has not come."""
    began = time.monotonic()
    strangers = [each for network in (1, 2, 3) for each in ask_for_strangers(mx, network,
                                                                             range(1, 41))]
    assert is_known(mx, backend)
    asked = {name for name, kind in nameserver.asked if kind == dns.PTR and ".0.0." not in name}
    if time.monotonic() - began < 3:    # before the first of them are given up
        assert len(asked) == 96
    for each in strangers:
        each.reply(250)
        each.close()


def test_place_of_those_who_have_left_is_free(mx, backend, nameserver, good):
    for each in ask_for_strangers(mx, 1, range(1, 33)):
        each.reset()
    wait.until(lambda: len(mx.find_records(event="session ended")) == 32, "their end")
    (one,) = ask_for_strangers(mx, 1, [77])
    wait.until(lambda: ("77.1.0.127.in-addr.arpa", dns.PTR) in nameserver.asked, "the question")
    one.close()
    assert is_known(mx, backend)


def test_clients_of_one_address_share_a_question(mx, nameserver, good):
    strangers = ask_for_strangers(mx, 1, [5] * 50)
    nameserver.silent_zones = ()
    for each in strangers:
        each.reply(250)
        each.close()
    assert len([1 for _, kind in nameserver.asked if kind == dns.PTR]) < 10


def test_without_the_option_nobody_is_asked(start, backend, nameserver):
    postern = start(backend, nameservers=[nameserver.address])
    with postern.log_in() as one:
        one.quit()
    assert not nameserver.asked
