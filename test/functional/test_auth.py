"""AUTH: the exchange with the client, in all the forms in which clients have it."""

import base64
import time

import pytest

from support import wait
from support.client import b64, plain_response
from support.pam import USERS


@pytest.fixture
def greeted(postern):
    with postern.connect() as one:
        one.ehlo()
        yield one


# the ways in

def test_plain_with_initial_response(greeted, backend):
    greeted.login("alice", "wonderland")
    greeted.command("NOOP", 250)
    assert backend.session().identity["LOGIN"] == "alice"


def test_plain_after_an_empty_challenge(greeted):
    assert greeted.command("AUTH PLAIN", 334).lines == [""]
    greeted.command(plain_response("alice", "wonderland"), 235)


def test_plain_in_any_case(greeted):
    greeted.command("aUtH pLaIn " + plain_response("alice", "wonderland"), 235)


@pytest.mark.parametrize("user, password", USERS.items())
def test_users_and_passwords_of_all_kinds(greeted, backend, user, password):
    greeted.login(user, password)
    assert backend.session().identity["LOGIN"] == user


def test_login_asks_in_the_words_that_clients_know(greeted):
    assert greeted.command("AUTH LOGIN", 334).lines == ["VXNlcm5hbWU6"]
    assert greeted.command(b64("alice"), 334).lines == ["UGFzc3dvcmQ6"]
    greeted.command(b64("wonderland"), 235)


def test_login_with_the_name_as_initial_response(greeted):
    assert greeted.command("AUTH LOGIN " + b64("alice"), 334).lines == ["UGFzc3dvcmQ6"]
    greeted.command(b64("wonderland"), 235)


def test_authorization_as_oneself_is_accepted(greeted):
    greeted.command("AUTH PLAIN " + plain_response("alice", "wonderland", authzid="alice"), 235)


def test_answers_sent_ahead_of_the_challenges_are_taken(greeted):
    greeted.send(f"AUTH LOGIN\r\n{b64('alice')}\r\n{b64('wonderland')}\r\n")
    assert [greeted.reply().code for _ in range(3)] == [334, 334, 235]


def test_commands_behind_auth_are_answered_in_order(greeted, backend):
    greeted.send("AUTH PLAIN " + plain_response("alice", "wonderland") + "\r\n"
                 "NOOP\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n")
    assert [greeted.reply().code for _ in range(4)] == [235, 250, 250, 250]
    assert backend.session().verbs[-3:] == ["NOOP", "MAIL", "RCPT"]


def test_nothing_behind_a_failed_auth_is_acted_on(greeted, backend):
    greeted.send("AUTH PLAIN " + plain_response("alice", "wrong") + "\r\n"
                 "MAIL FROM:<a@b.test>\r\nNOOP\r\n")
    assert [greeted.reply().code for _ in range(3)] == [535, 530, 250]
    assert not backend.sessions


def test_second_auth_is_refused(greeted, backend):
    greeted.login("alice", "wonderland")
    assert greeted.login("bob", "builder", 503).status == "5.5.1"
    greeted.command("AUTH LOGIN", 503)
    greeted.command("NOOP", 250)
    assert b"AUTH" not in backend.session().received.upper()


# refusals

def test_wrong_password_is_535_and_another_try_is_allowed(greeted):
    assert greeted.login("alice", "wrong", 535).status == "5.7.8"
    greeted.login("alice", "wonderland")


@pytest.fixture
def asking(start, backend):
    """run(…) -> a Postern whose PAM notes whom it is asked about."""
    def run(failure_delay=0, **settings):
        return start(backend, auth={"pam_service": "decided", "failure_delay": failure_delay},
                     limits={"exempt": [], **settings})
    return run


def log_in_by_login(one, user, password, *codes):
    one.command("AUTH LOGIN", 334)
    one.command(b64(user), 334)
    return one.command(b64(password), *codes)


def test_wrong_password_by_plain_and_then_by_login_is_one_failed_login(asking, pam):
    """As Thunderbird does it: a person who mistypes twice would be locked out of the two trials
    that the postmaster allows."""
    postern = asking(failed_logins=2)
    with postern.connect() as one:
        one.ehlo()
        told = one.login("alice", "wrong", 535)
        assert log_in_by_login(one, "alice", "wrong", 535) == told
        assert pam.asked() == ["alice"]
    assert len(postern.find_records(event="login failed")) == 1
    postern.log_in("alice", "wonderland").quit()
    assert pam.asked() == ["alice"] * 2


def test_repeated_wrong_password_waits_like_the_first(asking):
    with asking(failure_delay=1).connect() as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
        began = time.monotonic()
        log_in_by_login(one, "alice", "wrong", 535)
        assert time.monotonic() - began > 0.99


def test_only_the_same_password_of_the_same_user_is_a_repeated_one(asking, pam):
    postern = asking()
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "builder", 535)
        one.login("bob", "builder", 235)
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "builder", 535)
        one.login("alice", "wonderland", 235)
    assert pam.asked() == ["alice", "bob", "alice", "alice"]


def test_outage_is_not_remembered_as_a_wrong_password(start, backend, pam):
    postern = start(backend, auth={"pam_service": "undecided"})
    pam.outage.touch()
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
        pam.outage.unlink()
        log_in_by_login(one, "alice", "wonderland", 235)


def test_wrong_password_cannot_be_repeated_for_ever(asking, pam):
    with asking(errors=5).connect() as one:
        one.ehlo()
        for _ in range(1 + 5):
            one.login("alice", "wrong", 535)
        one.reply(421)
        one.expect_closed()
    assert pam.asked() == ["alice"]


def test_three_failures_close(start, backend):
    postern = start(backend)
    with postern.connect() as one:
        one.ehlo()
        for number in range(3):
            one.login("alice", f"wrong {number}", 535)
        one.expect_closed()
    assert postern.session_record(one)["end"] == "too many failed logins"
    assert len(postern.find_records(event="login failed", port=str(one.port))) == 3


def test_number_of_attempts_is_an_option(start, backend):
    with start(backend, auth={"attempts": 1}).connect() as one:
        one.ehlo()
        one.login("alice", "wrong", 535)
        one.expect_closed()


def test_refusal_waits_for_the_configured_delay(start, backend):
    with start(backend, auth={"failure_delay": 1}).connect() as one:
        one.ehlo()
        began = time.monotonic()
        one.login("alice", "wrong", 535)
        assert time.monotonic() - began >= 0.95


def test_other_identity_is_refused_like_a_wrong_password(greeted, backend):
    asked = greeted.command("AUTH PLAIN " + plain_response("alice", "wonderland", authzid="bob"))
    wrong = greeted.command("AUTH PLAIN " + plain_response("alice", "wrong"))
    assert asked == wrong and asked.code == 535
    assert not backend.sessions


@pytest.mark.parametrize("step", [["AUTH PLAIN"], ["AUTH LOGIN"], ["AUTH LOGIN", b64("alice")]])
def test_exchange_can_be_cancelled(greeted, step):
    for line in step:
        greeted.command(line, 334)
    assert greeted.command("*", 501).status == "5.7.0"
    greeted.login("alice", "wonderland")


MALFORMED = {
    "empty": "=",
    "not base64": "!!!!",
    "bad padding": "YWxpY2U",
    "padding in the middle": "YQ==YQ==",
    "loose bits": "YR==",
    "spaces": "YW xp",
    "one field": b64("alice"),
    "two fields": b64("alice\0wonderland"),
    "no name": b64("\0\0wonderland"),
    "NUL in the password": b64("\0alice\0wonder\0land"),
    "name too long": b64("\0" + "a" * 256 + "\0x"),
    "password too long": b64("\0alice\0" + "x" * 1025),
    "line feed in the name": b64("\0alice\n\0wonderland"),
    "line feed in the identity": b64("alice\n\0alice\0wonderland"),
    "asterisk": "*",
}


@pytest.mark.parametrize("response", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("initial", [True, False])
def test_malformed_response_is_501(greeted, backend, response, initial):
    if initial:
        greeted.command("AUTH PLAIN " + response, 501)
    else:
        greeted.command("AUTH PLAIN", 334)
        greeted.command("" if response == "=" else response, 501)
    greeted.login("alice", "wonderland")


EMPTY = {
    "PLAIN": ["AUTH PLAIN " + b64("\0alice\0")],
    "PLAIN after a challenge": ["AUTH PLAIN", b64("\0alice\0")],
    "LOGIN": ["AUTH LOGIN", b64("alice"), ""],
}


@pytest.mark.parametrize("lines", EMPTY.values(), ids=EMPTY.keys())
def test_empty_password_is_a_wrong_one_to_its_client(start, backend, pam, lines):
    """535 makes a client ask its user, in the time that a wrong one takes. PAM is not asked."""
    postern = start(backend, auth={"pam_service": "undecided", "failure_delay": 1})
    with postern.connect() as one:
        one.ehlo()
        for line in lines[:-1]:
            one.command(line, 334)
        began = time.monotonic()
        assert one.command(lines[-1], 535).status == "5.7.8"
        assert time.monotonic() - began > 0.99
        one.login("alice", "wonderland")
    assert pam.asked() == ["alice"]
    record = postern.wait_for_record(event="login failed")
    assert (record["user"], record["result"], record["reason"]) == (
        "alice", "malformed", "empty password")


REASONS = {
    "bad base64": ("!!!!", None),
    "empty password": (b64("\0alice\0"), "alice"),
    "password over 1024 bytes": (b64("\0alice\0" + "x" * 1025), "alice"),
    "NUL after the password": (b64("\0alice\0wonderland\0"), "alice"),
    "NUL in the password": (b64("\0alice\0wonder\0land"), "alice"),
    "user name over 255 bytes": (b64("\0" + "a" * 256 + "\0x"), None),
    "control character in the user name": (b64("\0alice\n\0x"), None),
    "no user name": (b64("\0\0x"), None),
}


@pytest.mark.parametrize("reason", REASONS)
def test_log_says_who_sent_a_malformed_response_and_what_is_wrong_with_it(greeted, postern, reason):
    response, user = REASONS[reason]
    greeted.command("AUTH PLAIN " + response, 501, 535)
    record = postern.wait_for_record(event="login failed", port=str(greeted.port))
    assert (record["result"], record["reason"], record.get("user")) == ("malformed", reason, user)


def test_log_knows_the_user_whose_second_answer_is_malformed(greeted, postern):
    greeted.command("AUTH LOGIN " + b64("alice"), 334)
    greeted.command("wonderland!", 501)
    record = postern.wait_for_record(event="login failed", port=str(greeted.port))
    assert (record["user"], record["reason"]) == ("alice", "bad base64")
    greeted.command("AUTH LOGIN " + b64("alice"), 334)
    greeted.command("A" * 13_000, 500)
    record = postern.wait_for_record(event="login failed", port=str(greeted.port), count=2)
    assert (record["user"], record["reason"]) == ("alice", "line over 12288 bytes")


@pytest.mark.parametrize("name", ["alice\n", "al\0ice", "\x1b[2J", "a" * 256, ""])
def test_login_refuses_impossible_names(greeted, name):
    greeted.command("AUTH LOGIN", 334)
    greeted.command(b64(name), 501)
    greeted.command("NOOP", 250)


def test_longest_name_and_password_are_not_refused_for_their_length(greeted):
    greeted.login("a" * 255, "x" * 1024, 535)


@pytest.mark.parametrize("command, code", [
    ("AUTH", 501), ("AUTH ", 501), ("AUTH CRAM-MD5", 504), ("AUTH GSSAPI YQ==", 504),
    ("AUTH PLAI", 504), ("AUTH PLAINX", 504), ("AUTH \0", 500),
])
def test_auth_without_a_mechanism_that_is_offered(greeted, command, code):
    greeted.command(command, code)
    greeted.login("alice", "wonderland")


def test_mechanism_that_is_not_offered_is_not_accepted(start, backend):
    """Threat 13."""
    with start(backend, auth={"mechanisms": ["PLAIN"]}).connect() as one:
        one.ehlo()
        one.command("AUTH LOGIN", 504)
        one.command("AUTH LOGIN " + b64("alice"), 504)
        one.login("alice", "wonderland")


@pytest.mark.parametrize("length, code", [(12_000, 501), (12_289, 500), (200_000, 500)])
def test_auth_lines_have_a_limit_of_their_own(greeted, length, code):
    """12,288 bytes with CRLF, in the command and in an answer."""
    greeted.send(b"AUTH PLAIN " + b"A" * (length - 13) + b"\r\nNOOP\r\n")
    greeted.reply(code)
    greeted.reply(250)
    greeted.command("AUTH PLAIN", 334)
    greeted.send(b"A" * (length - 2) + b"\r\nNOOP\r\n")
    greeted.reply(code)
    greeted.reply(250)


def test_malformed_attempts_count_as_mistakes(start, backend):
    with start(backend, limits={"errors": 5}).connect() as one:
        one.ehlo()
        for _ in range(5):
            one.command("AUTH PLAIN !!!!", 501)
        one.reply(421)
        one.expect_closed()


# clients that go away

@pytest.mark.parametrize("behind", [[], ["AUTH LOGIN"], ["AUTH LOGIN", b64("alice")]])
@pytest.mark.parametrize("how", ["close", "reset", "end_sending"])
def test_client_may_vanish_at_any_step(postern, behind, how):
    with postern.connect() as one:
        one.ehlo()
        for line in behind:
            one.command(line, 334)
        getattr(one, how)()
        assert postern.session_record(one)["end"]
    postern.log_in().quit()


@pytest.fixture
def waiting_bob(start, backend, pam):
    """(postern, client): bob's login is stuck in PAM, others' are not."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 2})
    with postern.connect() as one:
        one.ehlo()
        entered = pam.stuck_count()
        one.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        wait.until(lambda: pam.stuck_count() > entered, "bob at the gate")
        yield postern, one


def test_client_that_vanishes_while_pam_works_is_nobody(waiting_bob, backend, pam):
    """Its verdict comes late and opens no session."""
    postern, bob = waiting_bob
    bob.reset()
    postern.session_record(bob)
    pam.release()
    postern.log_in().quit()
    assert [s.identity.get("LOGIN") for s in backend.sessions] == ["alice"]


def test_client_that_has_only_ended_sending_hears_the_verdict(waiting_bob, pam):
    """Threat 25."""
    postern, bob = waiting_bob
    bob.end_sending()
    postern.log_in(source="127.0.0.10").quit()
    pam.release()
    bob.reply(235)
    bob.receive_rest()


def test_base64_of_a_response_is_strict_about_its_alphabet(greeted):
    response = base64.urlsafe_b64encode(b"\0\xff\xfe\xfd\0x").decode()
    assert "_" in response or "-" in response
    greeted.command("AUTH PLAIN " + response, 501)
