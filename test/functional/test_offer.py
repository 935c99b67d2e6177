"""What EHLO offers before the backend knows the client: what clients of this listener really get,
whatever the backend shows to one of them alone, or to Postern itself (threat 26)."""

import pytest

from support import wait
from support.backend import EXTENSIONS

ODD = "127.0.0.66"
PLAIN = ("PIPELINING", "SIZE 50000000")


def shows(backend, to_odd=EXTENSIONS, to_probes=EXTENSIONS, to_others=EXTENSIONS):
    """A backend that tells clients apart by their addresses."""
    def ehlo(connection, _):
        if not connection.xclient:
            keywords = to_probes
        elif any(ODD.encode() in each for each in connection.xclient):
            keywords = to_odd
        else:
            keywords = to_others
        connection.say("\n".join(["250 fake.test", *(f"250 {each}" for each in keywords),
                                  f"250 XCLIENT {connection.backend.attributes}"]))
    backend.on("EHLO", ehlo)


def starts(start, backend, **settings):
    """With an mx before the same backend, which anybody may use."""
    mx, submissions = wait.free_port(), wait.free_port()
    made = start(backend, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"],
               **settings.pop("mx", {})},
        "submissions": {"address": f"127.0.0.1:{submissions}", "tls": "implicit"}}, **settings)
    made.starttls, made.implicit = ("127.0.0.1", mx), ("127.0.0.1", submissions)
    backend.wait(lambda: any(each.has_quit for each in backend.connections), "no probe")
    wait.until(lambda: offered(made), "the offer")
    return made


def offered(postern, source="127.0.0.7", tls=None):
    with postern.connect(tls=tls, source=source) as one:
        return set(one.ehlo()) - {"STARTTLS", "AUTH"}


def visit(postern, source="127.0.0.7"):
    with postern.connect(tls=None, source=source) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.quit()


def keywords(extensions):
    return {each.split()[0] for each in extensions}


def test_client_from_whom_keywords_are_hidden_takes_them_from_nobody_for_long(start, backend):
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    for _ in range(3):
        visit(postern)
    assert offered(postern) == keywords(EXTENSIONS)
    for _ in range(3):
        visit(postern, ODD)
        assert offered(postern) == keywords(EXTENSIONS)


def test_first_client_from_whom_keywords_are_hidden_takes_them_from_nobody(start, backend):
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern)
    visit(postern, ODD)
    assert offered(postern) == keywords(EXTENSIONS)
    assert offered(postern, ODD) == keywords(PLAIN)


def test_client_from_whom_keywords_are_hidden_is_not_offered_them_again(start, backend):
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    assert offered(postern, ODD) == keywords(PLAIN)
    for _ in range(4):
        visit(postern)
    assert offered(postern, ODD) == keywords(PLAIN)
    visit(postern, ODD)
    assert offered(postern) == keywords(EXTENSIONS)


def test_smaller_size_of_one_client_is_nobody_elses(start, backend):
    """Who reads a smaller limit gives his mail back to its sender for good."""
    shows(backend, to_odd=("PIPELINING", "SIZE 100"))
    postern = starts(start, backend)
    visit(postern, ODD)
    for _ in range(3):
        visit(postern)
    visit(postern, ODD)
    with postern.connect(tls=None, source="127.0.0.8") as one:
        assert one.ehlo()["SIZE"] == "50000000"


def test_keyword_that_one_client_alone_is_shown_is_offered_to_nobody(start, backend):
    shows(backend, to_probes=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    for _ in range(5):
        visit(postern, ODD)
    assert offered(postern) == keywords(PLAIN)
    visit(postern)
    assert offered(postern, ODD) == keywords(PLAIN)


def test_keyword_that_only_this_host_is_shown_is_soon_offered_to_nobody(start, backend):
    """Postfix's manual has an example that hides DSN from everybody but one's own networks."""
    shows(backend, to_odd=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    visit(postern)
    assert offered(postern, "127.0.0.8") == keywords(PLAIN)
    for number in range(10, 16):
        visit(postern, f"127.0.0.{number}")
    assert offered(postern, "127.0.0.8") == keywords(PLAIN)


def test_listeners_do_not_learn_from_each_other(start, backend):
    """Users are shown what strangers are not."""
    shows(backend, to_odd=PLAIN)
    postern = starts(start, backend)
    visit(postern, ODD)
    assert offered(postern) == keywords(PLAIN)
    assert offered(postern, tls="implicit") == keywords(EXTENSIONS)


def test_backend_that_was_changed_to_offer_more_is_believed_after_some_sessions(start, backend):
    shows(backend, to_probes=PLAIN, to_others=PLAIN)
    postern = starts(start, backend)
    visit(postern)
    shows(backend)

    def comes_back():
        visit(postern)
        return offered(postern) == keywords(EXTENSIONS)
    wait.until(comes_back, "what it offers now")
    assert sum(each.is_probe for each in backend.connections) <= 4


def strict(backend):
    """Refuses parameters for good that it has not offered."""
    def judge(connection, line):
        known = line.rstrip(b">").count(b" ") == 1
        connection.say("250 2.0.0 Ok" if known else "555 5.5.4 Unsupported option")
    backend.on("MAIL", judge).on("RCPT", judge)


def told_too_much(start, backend):
    """Before the first session Postern knows what it is shown itself, and no more."""
    shows(backend, to_others=PLAIN, to_odd=PLAIN)
    strict(backend)
    return starts(start, backend)


def test_sender_who_asks_for_what_was_offered_loses_no_mail_where_it_is_dispensable(start, backend):
    """RFC 3461 section 5.2.2: to who knows no DSN the mail goes without them."""
    postern = told_too_much(start, backend)
    with postern.connect(tls=None) as one:
        assert "DSN" in one.ehlo()
        one.command("MAIL FROM:<a@sender.example> BODY=7BIT RET=HDRS ENVID=x", 250)
        one.command('RCPT TO:<bob@example.org> NOTIFY=FAILURE ORCPT=rfc822;bob@example.org', 250)
        one.command("rcpt TO:<eve@example.org>", 250)
        one.command("DATA", 354)
        one.send("x\r\n.\r\n")
        one.reply(250)
        one.quit()
    assert [each for each in backend.session().commands if b"TO:" in each or b"FROM:" in each] == [
        b"MAIL FROM:<a@sender.example>", b"RCPT TO:<bob@example.org>",
        b"RCPT TO:<eve@example.org>"]


@pytest.mark.parametrize("parameter", ["BODY=8BITMIME", "SMTPUTF8"])
def test_sender_whose_message_needs_what_was_offered_comes_again_and_knows(start, backend,
                                                                           parameter):
    """A refusal for good would be a bounce; now he sends it in another way, or knows why not."""
    postern = told_too_much(start, backend)
    with postern.connect(tls=None) as one:
        assert parameter.rpartition("=")[2] in one.ehlo()
        for _ in range(12):
            assert one.command(f"MAIL FROM:<a@sender.example> {parameter}", 451).status == "4.3.3"
        assert set(one.ehlo()) == keywords(PLAIN)
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.quit()
    for _ in range(4):
        visit(postern, "127.0.0.8")
    with postern.connect(tls=None) as one:
        assert set(one.ehlo()) == keywords(PLAIN) | {"STARTTLS"}


def test_threat_08_chunk_that_was_offered_and_is_not_taken_is_no_bounce(start, backend):
    postern = told_too_much(start, backend)
    with postern.connect(tls=None) as one:
        assert "CHUNKING" in one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.command("RCPT TO:<bob@example.org>", 250)
        one.send(b"BDAT 6 LAST\r\nQUIT\r\n")
        one.reply(421)
        one.expect_closed()
    with postern.connect(tls=None) as one:
        assert "CHUNKING" not in one.ehlo()
    assert not {"BDAT", "QUIT"} & set(backend.session().verbs)


def test_parameter_that_was_never_offered_is_the_backends_to_refuse(start, backend):
    shows(backend, PLAIN, PLAIN, PLAIN)
    strict(backend)
    with starts(start, backend).connect(tls=None) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example> RET=HDRS", 555)


def test_postmaster_may_withhold_keywords_from_a_listener(start, backend):
    """Before and behind the login of users, who are told of all at the other one."""
    postern = starts(start, backend, mx={"withhold": ["DSN", "CHUNKING"]})
    wanted = keywords(EXTENSIONS) - {"DSN", "CHUNKING"}
    assert offered(postern) == wanted
    assert offered(postern, tls="implicit") == keywords(EXTENSIONS)
    with postern.connect(tls=None) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example> RET=FULL SIZE=5", 250)
        one.command("RCPT TO:<bob@example.org> NOTIFY=SUCCESS", 250)
        assert set(one.ehlo()) == wanted
        one.send(b"BDAT 6 LAST\r\n")
        one.reply(503)
        one.expect_closed()
    commands = backend.session().commands
    assert b"MAIL FROM:<a@sender.example> SIZE=5" in commands
    assert b"RCPT TO:<bob@example.org>" in commands
    with postern.log_in() as user:
        assert set(user.ehlo()) == keywords(EXTENSIONS)


def test_binarymime_is_withheld_with_chunking(start, backend):
    """It can be sent in no other way (RFC 3030 section 3)."""
    backend.extensions = (*EXTENSIONS, "BINARYMIME")
    postern = starts(start, backend, mx={"withhold": ["CHUNKING"]})
    assert offered(postern) == keywords(EXTENSIONS) - {"CHUNKING"}


def test_keyword_that_nobody_knows_cannot_be_withheld(start, backend):
    postern = starts(start, backend)
    postern.configure(listen={"mx": {"address": "%s:%d" % postern.starttls, "role": "mx",
                                     "recipients": ["example.org"], "withhold": ["DNS"]}})
    assert any("withhold" in each and "DNS" in each for each in postern.reload_refused())
