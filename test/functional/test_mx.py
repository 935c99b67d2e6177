"""Inbound mail: TLS is offered, AUTH is not, and mail for others is not taken, however it is
addressed."""

import re
import threading

import pytest

from support import control, wait
from support.client import Client


def start_mx(start, backend, identity=None, **keys):
    port = wait.free_port()
    made = start(backend, backend={"identity": identity} if identity else {},
                 listen={"mx": {"address": f"127.0.0.1:{port}", "role": "mx", **keys}})
    made.starttls = ("127.0.0.1", port)
    return made


@pytest.fixture
def mx(start, backend):
    return start_mx(start, backend, recipients=["example.org", "joe@one.example"])


def begun(postern, **options):
    """Behind EHLO and MAIL, in plaintext."""
    made = postern.connect(tls=None, **options)
    made.ehlo("mx.sender.example")
    made.command("MAIL FROM:<a@sender.example>", 250)
    return made


@pytest.mark.parametrize("said, heard", [
    ("RCPT  TO: < bob@example.org >", b"RCPT TO:<bob@example.org>"),
    ("RCPT TO:<  JOE@one.example>   NOTIFY=NEVER", b"RCPT TO:<JOE@one.example> NOTIFY=NEVER"),
    ("RCPT TO:< bob@elsewhere.example >", None), ("RCPT   TO:  <jim@one.example >", None),
    ("RCPT TO:<bob@example.org bob@elsewhere.example>", None),
    ("RCPT TO:<bob@elsewhere.example bob@example.org >", None),
    ("RCPT TO:< bob@example.org ><bob@elsewhere.example>", None),
    ("RCPT TO:<bob@example.org > <bob@elsewhere.example>", None),
])
def test_recipient_that_is_judged_is_the_one_that_the_backend_gets(mx, backend, said, heard):
    with begun(mx) as one:
        assert (one.command(said).code == 250) == (heard is not None)
        one.command("NOOP", 250)
        session = backend.session()
        assert [line for line in session.commands if line.startswith(b"RCPT")] == \
            ([heard] if heard else [])


def test_mail_for_us_arrives_with_the_senders_address(mx, backend):
    with begun(mx, source="127.0.0.33") as one:
        one.command("RCPT TO:<bob@Example.ORG>", 250)
        one.command("RCPT TO:<JOE@one.example>", 250)
        one.command("RCPT TO:<postmaster>", 250)
        one.command("DATA", 354)
        one.send("Subject: x\r\n\r\n.\r\n")
        one.reply(250)
        one.quit()
    session = backend.session()
    identity = session.identity
    assert identity["ADDR"] == "127.0.0.33" and identity["HELO"] == "mx.sender.example"
    assert identity.get("LOGIN", "[UNAVAILABLE]") == "[UNAVAILABLE]"
    assert len(session.messages) == 1
    record = mx.session_record(one)
    assert record["listener"] == "mx" and record["recipients"] == "3" and "user" not in record


def for_three(start, backend):
    """With room for three, at a door for mail and at one for people."""
    mx, submissions = wait.free_port(), wait.free_port()
    postern = start(backend, limits={"connections": 3}, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"]},
        "submissions": {"address": f"127.0.0.1:{submissions}", "tls": "implicit"}})
    postern.starttls, postern.implicit = ("127.0.0.1", mx), ("127.0.0.1", submissions)
    return postern


def test_strangers_behind_mail_give_way_to_users(start, backend):
    """Threat 27: MAIL proves nothing, and must not hold the place of somebody who could log in."""
    postern = for_three(start, backend)
    strangers = [begun(postern) for _ in range(3)]
    with postern.log_in() as user:
        strangers[0].reply(421)
        strangers[0].expect_closed()
        user.command("NOOP", 250)
    for each in strangers[1:]:
        each.command("NOOP", 250)
        each.close()


@pytest.mark.parametrize("how", ["DATA", "BDAT", "BDAT LAST"])
def test_stranger_who_never_ends_a_message_keeps_no_user_out(start, backend, how):
    """Threat 27: half a message has no verdict that could be missed."""
    postern = for_three(start, backend)
    first = begun(postern)
    first.command("RCPT TO:<bob@example.org>", 250)
    if how == "DATA":
        first.command("DATA", 354)
        first.send("Subject: x\r\n")
    else:
        first.send(how.replace("BDAT", "BDAT 1000") + "\r\nx")
        backend.wait(lambda: b"BDAT" in backend.everything_received(), "the chunk")
    others = [begun(postern) for _ in range(2)]
    with postern.log_in() as user:
        first.reply(421)
        first.expect_closed()
        user.command("NOOP", 250)
    for each in others:
        each.command("NOOP", 250)
        each.close()


def test_stranger_whose_message_is_unanswered_keeps_no_user_out(start, backend):
    """Threat 27: the next one gives way."""
    answer = threading.Event()

    def late(connection, _):
        connection.hold(answer)
        connection.say("250 2.0.0 Ok")
    backend.on("message", late)
    postern = for_three(start, backend)
    sender = begun(postern)
    sender.command("RCPT TO:<bob@example.org>", 250)
    sender.command("DATA", 354)
    sender.send("x\r\n.\r\n")
    backend.wait(lambda: any(each.messages for each in backend.connections), "the message")
    others = [begun(postern) for _ in range(2)]
    with postern.log_in() as user:
        others[0].reply(421)
        user.command("NOOP", 250)
    answer.set()
    sender.reply(250)
    sender.quit()
    others[1].quit()


def test_tls_is_offered_and_auth_is_not(mx):
    with mx.connect(tls=None) as one:
        assert "STARTTLS" in one.ehlo()
        one.starttls()
        offered = one.ehlo()
        assert "AUTH" not in offered and "STARTTLS" not in offered
        one.command("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=", 502)
        one.command("MAIL FROM:<a@sender.example>", 250)
        one.command("AUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=", 502)
        one.command("RCPT TO:<bob@example.org>", 250)


def test_mail_in_plaintext_is_refused_where_tls_is_required(start, backend):
    postern = start_mx(start, backend, recipients=["example.org"], tls_required=True)
    with postern.connect(tls=None) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 530)
        one.starttls()
        one.command("MAIL FROM:<a@sender.example>", 503)
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)


def test_starttls_behind_mail_is_refused_and_nothing_behind_it_is_lost(mx):
    with begun(mx) as one:
        one.send("STARTTLS\r\nRCPT TO:<bob@example.org>\r\n")
        assert [one.reply().code for _ in range(2)] == [502, 250]
        assert "STARTTLS" not in one.ehlo()


def test_mail_for_others_is_refused_here(mx, backend):
    with begun(mx) as one:
        for recipient in ("user@elsewhere.example", "jim@one.example", "bob@sub.example.org"):
            assert one.command(f"RCPT TO:<{recipient}>", 550).status == "5.7.1"
        one.command("RCPT TO:bob", 550, 501)
        one.command("RCPT", 501)
        one.command("DATA", 250, 354, 503, 554)
    assert b"RCPT" not in backend.session().received
    assert mx.session_record(one)["recipients_refused"] == "5"


@pytest.mark.parametrize("form", [
    "<@ours.example,@example.org:user@elsewhere.example>", "<@example.org:user@elsewhere.example>",
    "<user%elsewhere.example@example.org>", "<elsewhere.example!user@example.org>",
    "<\"user@elsewhere.example\"@example.org>", "<\"user%elsewhere.example\"@example.org>",
    "<user@elsewhere.example@example.org>", "<user@[127.0.0.1]>", "<user@[IPv6:::1]>",
    "<user>", "<>", "<user@example.org.>", "<us er@example.org>", "< user@elsewhere.example >",
    "<user@elsewhere.example> <bob@example.org>", "<|/bin/sh@example.org>",
    "<us\\er@elsewhere.example>", "<user(@example.org)@elsewhere.example>",
])
def test_no_way_around_by_the_form_of_an_address(mx, backend, form):
    with begun(mx) as one:
        assert one.command(f"RCPT TO:{form}").code in (501, 550)
    assert b"RCPT" not in backend.session().received


def test_accounts_are_not_told_to_strangers(mx, backend):
    """VRFY, EXPN and ETRN, before and behind MAIL; and EHLO does not offer them."""
    backend.extensions = (*backend.extensions, "VRFY", "EXPN", "ETRN")
    with mx.connect(tls=None) as one:
        for verb in ("VRFY", "EXPN", "ETRN"):
            assert one.command(f"{verb} bob").code in (502, 530)
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 250)
        for verb in ("VRFY", "EXPN", "ETRN"):
            one.command(f"{verb} bob", 502)
        assert not {"VRFY", "EXPN", "ETRN"} & set(one.ehlo())
    assert not {"VRFY", "EXPN", "ETRN"} & set(backend.session().verbs)


def test_backend_costs_nothing_before_the_first_mail(mx, backend):
    backend.wait(lambda: any(c.has_quit for c in backend.connections), "no probe")
    before = len(backend.connections)
    with mx.connect(tls=None) as one:
        one.ehlo()
        for command in ("NOOP", "RSET"):
            one.command(command, 250)
        one.command("RCPT TO:<bob@example.org>", 503)
        one.command("DATA", 503)
        one.quit()
    assert len(backend.connections) == before


def test_pipelined_envelope_goes_through(mx, backend):
    with mx.connect(tls=None) as one:
        one.ehlo()
        one.send("MAIL FROM:<a@sender.example>\r\nRCPT TO:<bob@example.org>\r\n"
                 "RCPT TO:<no@elsewhere.example>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n")
        assert [one.reply().code for _ in range(5)] == [250, 250, 550, 250, 354]
        one.send("x\r\n.\r\nQUIT\r\n")
        assert [one.reply().code for _ in range(2)] == [250, 221]
    assert backend.session().verbs[-5:] == ["MAIL", "RCPT", "RCPT", "DATA", "QUIT"]


def test_old_servers_that_say_helo_are_served(mx, backend):
    with mx.connect(tls=None) as one:
        one.command("HELO old.example", 250)
        one.send_message("a@sender.example", ["bob@example.org"], b"x\r\n")
        one.quit()
    session = backend.session()
    assert b"HELO old.example" in session.commands and session.identity["PROTO"] == "SMTP"


def test_outage_is_421_and_not_a_bounce(mx, backend):
    backend.wait(lambda: any(c.has_quit for c in backend.connections), "no probe")
    backend.stop_listening()
    with mx.connect(tls=None) as one:
        one.ehlo()
        assert one.command("MAIL FROM:<a@sender.example>", 421).status == "4.4.1"
        one.expect_closed()


def test_threat_04_identity_is_not_the_senders_to_claim(mx, backend):
    with mx.connect(tls=None) as one:
        one.ehlo()
        one.command("XCLIENT LOGIN=root", 550)
        one.command("MAIL FROM:<a@sender.example> AUTH=root", 250)
        one.command("XCLIENT LOGIN=root", 550)
        one.command("XFORWARD NAME=x", 550)
    assert b"root" not in backend.everything_received()


def test_recipients_in_a_file_are_read_again_at_a_reload(start, backend, scratch):
    path = scratch / "recipients"
    path.write_text("# ours\nexample.org\n")
    postern = start_mx(start, backend, recipients=[str(path)])
    with begun(postern) as one:
        one.command("RCPT TO:<bob@new.example>", 550)
    path.write_text("example.org\nnew.example\n")
    postern.reload()
    with begun(postern) as one:
        one.command("RCPT TO:<bob@new.example>", 250)
    path.write_text("not a domain!\n")
    (why,) = [e for e in postern.reload_refused() if "recipients" in e and "postern.conf" in e]
    assert f"{path}:1" in why
    with begun(postern) as one:
        one.command("RCPT TO:<bob@new.example>", 250)


def test_start_that_would_be_an_open_relay_is_refused(start, backend, scratch):
    """Promise 1 of an mx: the backend hears where the client is, or Postern knows what is ours."""
    postern = start_mx(start, backend)  # xclient: the backend hears it
    with begun(postern) as one:
        one.command("RCPT TO:<anybody@elsewhere.example>", 250)
    postern.configure(backend={"identity": "none"})
    (why,) = [e for e in postern.reload_refused() if "open relay" in e]
    assert re.search(r'postern\.conf:\d+:\d+: listen "mx": role: mx would be an open relay', why)


def test_recipients_are_for_an_mx(start, backend):
    postern = start_mx(start, backend)
    postern.configure(listen={"mx": {"address": "%s:%d" % postern.starttls,
                                     "recipients": ["example.org"]}})
    assert any("recipients: is for listeners" in e for e in postern.reload_refused())


def test_sender_in_a_transaction_does_not_give_way_in_a_full_house(start, backend):
    """Threat 27: those whose mail is under way are as good as logged in."""
    postern = start_mx(start, backend, recipients=["example.org"])
    postern.configure(limits={"connections": 2})
    postern.reload()
    with begun(postern) as one, postern.connect(tls=None) as idle:
        with postern.connect(tls=None) as three:
            idle.reply(421)
            one.command("RCPT TO:<bob@example.org>", 250)
            three.ehlo()


@pytest.mark.parametrize("end", [b"DATA", b"BDAT"])
def test_promise_no_mail_is_doubled_by_giving_way(start, backend, end):
    """Who has sent a whole message is not cut off before he has heard what became of it."""
    answer = threading.Event()

    def late(connection, _):
        if connection.messages or connection.chunks[-1][1]:
            connection.hold(answer)
        connection.say("250 2.0.0 Ok")
    backend.on("message", late).on("chunk", late)
    mx = wait.free_port()
    postern = start(backend, limits={"connections": 1}, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"]}})
    postern.starttls = ("127.0.0.1", mx)
    sender = begun(postern)
    sender.command("RCPT TO:<bob@example.org>", 250)
    if end == b"DATA":
        sender.command("DATA", 354)
        sender.send(b"text\r\n.\r\n")
    else:
        sender.send(b"BDAT 6 LAST\r\ntext\r\n")
    backend.wait(lambda: any(each.messages or each.chunks and each.chunks[-1][1]
                             for each in backend.connections), "the message")
    with Client(postern.starttls) as other:
        other.reply(421)
    answer.set()
    sender.reply(250)
    sender.quit()


# Threat 42: strangers hold no backend connections.

def for_strangers(start, backend, limits=None, **settings):
    """At an mx, where a stranger's address is not one of those without limits."""
    port = wait.free_port()
    made = start(backend, limits={"exempt": [], **(limits or {})},
                 listen={"mx": {"address": f"127.0.0.1:{port}", "role": "mx",
                                "recipients": ["example.org"]}}, **settings)
    made.starttls = ("127.0.0.1", port)
    backend.wait(lambda: any(each.has_quit for each in backend.connections), "the probe")
    return made


def test_threat_42_stranger_leaves_most_of_the_backend_to_others(start, backend):
    """By default one address holds 20 of its sessions, and others are as welcome as before."""
    postern = for_strangers(start, backend)
    before = len(backend.connections)
    held = [begun(postern) for _ in range(20)]
    with postern.connect(tls=None) as one:
        one.ehlo()
        assert one.command("MAIL FROM:<a@sender.example>", 421).status == "4.7.0"
        one.expect_closed()
    assert len(backend.connections) == before + 20
    record = postern.session_record(one)
    assert record["end"] == "too many sessions with mail from this address"
    reached = postern.wait_for_record(event="limit reached", client="127.0.0.9")
    assert reached["limit"] == "mx_sessions_per_address" and reached["listener"] == "mx"
    assert control.metrics(postern)[
        'postern_limits_hit_total{limit="mx_sessions_per_address"}'] == 1
    with begun(postern, source="127.0.0.10") as other:
        other.command("RCPT TO:<bob@example.org>", 250)
    held[0].quit()
    postern.session_record(held[0])
    with begun(postern) as another:
        another.command("RCPT TO:<bob@example.org>", 250)
    for each in held[1:]:
        each.close()


def test_threat_42_every_mx_counts_toward_one_share(start, backend):
    ports = [wait.free_port() for _ in range(2)]
    postern = start(backend, limits={"exempt": [], "mx_sessions_per_address": 2}, listen={
        f"mx{number}": {"address": f"127.0.0.1:{port}", "role": "mx", "recipients": ["example.org"]}
        for number, port in enumerate(ports)})
    held = []
    for port in ports:
        postern.starttls = ("127.0.0.1", port)
        held.append(begun(postern))
    with postern.connect(tls=None) as one:
        one.ehlo()
        one.command("MAIL FROM:<a@sender.example>", 421)
    for each in held:
        each.quit()


@pytest.mark.parametrize("limits", [{"mx_sessions_per_address": 0},
                                    {"mx_sessions_per_address": 1, "exempt": ["127.0.0.0/30"]}])
def test_sender_of_much_mail_can_be_given_more_than_a_share(start, backend, limits):
    """A gateway of one's own, or each sender."""
    postern = for_strangers(start, backend, limits=limits)
    held = [begun(postern, source="127.0.0.2") for _ in range(30)]
    for each in held:
        each.command("RCPT TO:<bob@example.org>", 250)
        each.close()


def say_at_once(one, *lines):
    """In one packet, so that nothing of this is late on a busy machine."""
    one.send("".join(f"{line}\r\n" for line in lines))
    for _ in lines:
        one.reply(250)


def silenced(one):
    """It hears 421, and that the connection is closed."""
    assert one.reply(421).status == "4.4.2"
    one.expect_closed()


@pytest.mark.parametrize("said", [
    "MAIL FROM:<a@sender.example>", "MAIL FROM:<a@sender.example>\r\nRCPT TO:<bob@example.org>",
    "MAIL FROM:<a@sender.example>\r\nRSET", "MAIL FROM:<a@sender.example>\r\nEHLO again.example"])
def test_threat_42_silent_stranger_gives_the_backend_back(start, backend, said):
    """Within the time between two commands of an mx, long before that of a user's session."""
    postern = for_strangers(start, backend, timeouts={"mx_idle": 1})
    with postern.connect(tls=None) as one:
        say_at_once(one, "EHLO mx.sender.example", *said.split("\r\n"))
        silenced(one)
    backend.wait(lambda: backend.session().ended is not None, "the end of the backend's session")
    assert postern.session_record(one)["end"] == "no command in time"
    assert control.metrics(postern)['postern_limits_hit_total{limit="mx_idle_time"}'] == 1


@pytest.mark.parametrize("said", [["EHLO mx.sender.example"], ["EHLO mx.sender.example", "NOOP"]])
def test_threat_42_silence_ahead_of_mail_ends_as_soon(start, backend, said):
    postern = for_strangers(start, backend, timeouts={"mx_idle": 1})
    with postern.connect(tls=None) as one:
        say_at_once(one, *said)
        silenced(one)
    assert postern.session_record(one)["end"] == "no command in time"


def test_time_between_commands_begins_anew_under_tls(start, backend):
    postern = for_strangers(start, backend, timeouts={"mx_idle": 1})
    with postern.connect(tls=None) as one:
        one.ehlo()
        one.starttls()
        silenced(one)
    assert postern.session_record(one)["end"] == "no command in time"


def test_sender_who_never_says_mail_is_told_so(start, backend):
    """And not that he should have logged in, where nobody can."""
    postern = for_strangers(start, backend, timeouts={"login": 1})
    with postern.connect(tls=None) as one:
        one.ehlo()
        assert "MAIL" in one.reply(421).text
        one.expect_closed()
    assert postern.session_record(one)["end"] == "no MAIL in time"


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_message_that_pauses_is_not_cut_off_as_between_commands(start, backend, way):
    """RFC 5321 section 4.5.3.2.5 gives a block of a message minutes; the clock is a neighbour who
    says nothing, and who is sent away."""
    postern = for_strangers(start, backend, timeouts={"mx_idle": 1})
    sender = postern.connect(tls=None)
    sender.send("EHLO mx.sender.example\r\nMAIL FROM:<a@sender.example>\r\n"
                "RCPT TO:<bob@example.org>\r\n"
                + ("DATA\r\n" if way == "DATA" else "BDAT 20 LAST\r\nSubject: x\r\n"))
    assert [sender.reply().code for _ in range(3)] == [250, 250, 250]
    if way == "DATA":
        sender.reply(354)
        sender.send("Subject: x\r\n")
    for _ in range(2):
        with begun(postern) as silent:
            silenced(silent)
    sender.send("\r\ntext\r\n.\r\n" if way == "DATA" else "\r\ntext\r\n")
    sender.reply(250)
    sender.quit()


def test_users_are_not_hurried_by_the_time_of_an_mx(start, backend):
    mx, submissions = wait.free_port(), wait.free_port()
    postern = start(backend, timeouts={"mx_idle": 1}, listen={
        "mx": {"address": f"127.0.0.1:{mx}", "role": "mx", "recipients": ["example.org"]},
        "submissions": {"address": f"127.0.0.1:{submissions}", "tls": "implicit"}})
    postern.starttls, postern.implicit = ("127.0.0.1", mx), ("127.0.0.1", submissions)
    with postern.log_in() as user, postern.connect() as undecided:
        undecided.ehlo()
        for _ in range(2):
            with begun(postern) as silent:
                silenced(silent)
        user.command("NOOP", 250)
        undecided.login("alice", "wonderland")
