"""The ten promises of test/threats.md, which names the tests that look closer at each of them."""

import os
import re
import select
import signal
import threading

import pytest

from conftest import needs_root
from support import processes, wait
from support.client import b64, plain_response
from support.postern import LEAN


def test_promise_01_nothing_of_the_unauthenticated_is_forwarded(start, backend):
    """Not one byte, whatever they say; and nobody connects to the backend for their sake."""
    postern = start(backend, limits={"errors": 1000}, auth={"attempts": 100})
    backend.wait(lambda: backend.connections and backend.connections[0].ended is not None
                 or backend.connections and backend.connections[0].has_quit, "the probe")
    marker = "UnauthenticatedMarker"
    lines = [f"EHLO {marker}", f"HELO {marker}", f"NOOP {marker}", f"HELP {marker}",
             f"VRFY {marker}", f"EXPN {marker}", f"ETRN {marker}", f"MAIL FROM:<{marker}>",
             f"RCPT TO:<{marker}>", "DATA", f"{marker}", f"XCLIENT LOGIN={marker}", "RSET",
             "AUTH PLAIN " + plain_response(marker, "x"), "AUTH PLAIN", plain_response(marker, "x"),
             "AUTH LOGIN " + b64(marker), "*", f"AUTH {marker}"]
    for how in (None, "implicit"):
        with postern.connect(how) as one:
            one.ehlo()
            for line in lines:
                one.command(line)
            one.send(f"MAIL FROM:<{marker}>\r\nRCPT TO:<x@y>\r\nDATA\r\n{marker}\r\n.\r\n")
            for _ in range(5):
                one.reply()
    assert len(backend.connections) == 1
    assert marker.encode() not in backend.everything_received()


def test_promise_02_plaintext_is_forgotten_under_tls(postern, backend):
    with postern.connect(None) as one:
        one.ehlo("plaintext-name.example")
        one.starttls(behind=b"EHLO injected.example\r\nAUTH PLAIN AGEAYg==\r\n")
        one.command("MAIL FROM:<a@b.test>", 503)
        one.ehlo("secure-name.example")
        one.login("alice", "wonderland")
    assert b"plaintext-name" not in backend.everything_received()
    assert backend.session().identity["HELO"] == "secure-name.example"


def test_promise_03_identity_comes_from_postern_alone(postern, backend):
    with postern.log_in() as one:
        one.send("XCLIENT LOGIN=root\r\nMAIL FROM:<a@b.test> AUTH=root\r\nxforward addr=192.0.2.1\r\n"
                 "EHLO other.example\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\n")
        assert [one.reply().code for _ in range(6)] == [550, 250, 550, 250, 503, 250]
    session = backend.session()
    assert session.identity["LOGIN"] == "alice" and len(session.xclient) == 1
    assert b"root" not in session.received


def test_promise_03_session_without_identity_is_refused(start, backend):
    backend.on("XCLIENT", "550 5.7.0 No")
    postern = start(backend)
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454)
        one.expect_closed()


@needs_root
def test_promise_04_only_the_backends_reply_acknowledges(postern, backend):
    """The client waits as long as the backend does; nothing is kept on disk meanwhile."""
    release = threading.Event()

    def late(connection, _):
        connection.hold(release)
        connection.say("250 2.0.0 Mine now")
    backend.on("message", late)
    reactor = postern.sole("reactor")
    with postern.log_in() as one:
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.command("DATA", 354)
        one.send(b"text\r\n" * 10_000 + b".\r\n")
        backend.wait(lambda: backend.session().messages, "the message")
        assert not select.select([one.socket], [], [], 0.3)[0], "said something by itself"
        assert not [what for what in processes.descriptors(reactor).values()
                    if what.startswith("/") and what not in ("/dev/null", str(postern.log_path))]
        release.set()
        assert one.reply(250).lines == ["2.0.0 Mine now"]


def test_promise_05_message_ends_in_one_way(postern, backend):
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"],
                         b"a\n.\nb\r.\rc\n.\r\nd\r\n.\ne\r\n..\r\nf\0\r\n")
        one.command("NOOP", 250)
    (message,) = backend.session().messages
    assert message.endswith(b"\r\n.\r\n") and message.count(b"\r\n.\r\n") == 1
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|\0", message)


def test_promise_06_slow_pam_delays_one_login_only(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 4})
    stuck = [postern.connect(source=f"127.0.0.{number}") for number in (61, 62)]
    for one in stuck:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
    wait.until(lambda: pam.stuck_count() == 2, "both in the module")
    with postern.log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    assert not select.select([one.socket for one in stuck], [], [], 0)[0], "it waited for an answer"
    pam.release()
    for one in stuck:
        one.reply(235)
        one.close()


def secret():
    """A password, and what would betray that some of it is left: pieces of it, of its base64,
    and of alice's response in PLAIN. Pieces, as a block of memory may be overwritten in part."""
    password = os.urandom(40).hex()
    forms = (password, b64(password), plain_response("alice", password)[16:])
    return password, [form[start:start + 12].encode() for form in forms
                      for start in range(0, len(form) - 12, 12)]


def memory_holds(pid, needles):
    """Which of these byte strings stand anywhere in the memory of a process. One that has ended
    holds nothing."""
    try:
        return {needle for block in processes.memory(pid) for needle in needles if needle in block}
    except FileNotFoundError:
        return set()


@needs_root
@pytest.mark.parametrize("service, code", [("permit", 235), ("deny", 535), ("stuck", None)])
@pytest.mark.parametrize("how", ["implicit", "starttls"])
def test_promise_07_password_is_in_nobodys_memory_behind_the_verdict(start, backend, service, code,
                                                                     how):
    """Neither it nor its base64: in the master, the reactor, the workers; while the session
    lives on. "stuck" is a login that never got its verdict."""
    password, needles = secret()
    postern = start(backend, auth={"pam_service": service, "timeout": 1}, workers=1)
    with postern.connect(how) as plain, postern.connect(how) as login:
        plain.ehlo()
        plain.login("alice", password, code or 454)
        login.ehlo()
        login.command("AUTH LOGIN " + b64("alice"), 334)
        login.command(b64(password), code or 454)
        for one in (plain, login):
            one.command("NOOP", 250)
        postern.team("auth worker", 2)
        for pid in (postern.pid, *postern.pids("reactor"), *postern.pids("auth worker")):
            assert memory_holds(pid, needles) == set(), processes.title(pid)


@needs_root
def test_promise_07_search_for_the_password_finds_it(start, backend, pam):
    """While PAM is at work its worker has it, and the reactor, which may have to ask another one:
    so the other tests would see one left over. When the client has gone, no other is asked."""
    postern = start(backend, auth={"pam_service": "stuck", "workers": 1})
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland-search") + "\r\n")
        wait.until(lambda: pam.stuck_count() == 1, "the login in PAM")
        worker = postern.sole("auth worker")
        reactor = postern.sole("reactor")
        assert memory_holds(worker, [b"wonderland-search"])
        assert memory_holds(reactor, [b"wonderland-search"])
        one.reset()
        postern.session_record(one)
        assert not memory_holds(reactor, [b"wonderland-search"])


@needs_root
def test_promise_07_password_that_was_given_up_is_not_kept(start, backend):
    """Malformed, cancelled, refused for the identity, or the client gone."""
    password, needles = secret()
    response = plain_response("alice", password)
    postern = start(backend)
    with postern.connect() as one, postern.connect() as gone:
        one.ehlo()
        one.command("AUTH PLAIN " + plain_response("alice", password, authzid="bob"), 535)
        one.command("AUTH PLAIN " + response + "!", 501)
        one.command("AUTH NONESUCH " + response, 504)
        one.command("AUTH PLAIN " + b64("\0alice\0" + password + "\0"), 501)
        gone.ehlo()
        gone.send("AUTH PLAIN " + response)
        gone.close()
        postern.session_record(gone)
        one.command("NOOP", 250)
        reactor = postern.sole("reactor")
        assert memory_holds(reactor, needles) == set()


@needs_root
def test_promise_07_password_that_no_worker_has_seen_is_not_kept(start, backend, pam):
    """Its client went while it waited in the queue."""
    password, needles = secret()
    postern = start(backend, auth={"pam_service": "gated", "workers": 1})
    reactor = postern.sole("reactor")
    with postern.connect() as bob, postern.connect(source="127.0.0.10") as queued:
        bob.ehlo()
        bob.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        queued.ehlo()
        queued.send("AUTH PLAIN " + plain_response("alice", password) + "\r\n")
        wait.until(lambda: memory_holds(reactor, [password.encode()]), "the password in the queue")
        queued.reset()
        postern.session_record(queued)
        assert memory_holds(reactor, needles) == set()


@pytest.mark.parametrize("outage", ["module missing", "service missing", "worker killed",
                                    "module stuck", "backend down", "backend not SMTP"])
def test_promise_08_outage_is_not_a_wrong_password(start, backend, pam, outage):
    service = {"module missing": "broken", "service missing": "nowhere", "module stuck": "stuck",
               "worker killed": "stuck"}.get(outage, "users")
    postern = start(backend, auth={"pam_service": service, "workers": 1,
                                   "timeout": 1 if outage == "module stuck" else 30})
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    if outage == "backend down":
        backend.stop_listening()
    if outage == "backend not SMTP":
        backend.on("connect", "ssh-2.0 no")
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland") + "\r\n")
        for count in (1, 2) if outage == "worker killed" else ():
            wait.until(lambda count=count: pam.stuck_count() == count, "the login in PAM")
            os.kill(postern.sole("auth worker"), signal.SIGKILL)
        assert one.reply(454, 421).status.startswith("4.")


def test_promise_08_refusal_is_no_wrong_password_and_no_outage(start, backend):
    postern = start(backend)
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")
    backend.on("connect", "554 5.3.2 Closed")
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 235)
        one.command("MAIL FROM:<a@b.test>", 554)


def test_promise_09_sessions_that_do_not_move_cost_little(start, backend):
    """Logged in, a backend beside each, nothing said."""
    postern = start(backend, environment=LEAN, auth={"pam_service": "permit"},
                    limits={"connections_per_address": 0})
    reactor = postern.sole("reactor")

    def crowd(number):
        return [postern.log_in("u", "x", source=f"127.0.5.{number}") for _ in range(60)]
    first = crowd(1)
    before = processes.resident_bytes(reactor)
    second = crowd(2)
    # OpenSSL's own share under the sanitizers' allocator; a buffer kept for each session would
    # show as 64 KiB and more.
    assert (processes.resident_bytes(reactor) - before) / 60 < 120_000
    for one in first + second:
        one.close()


def test_promise_10_bad_reload_leaves_all_as_it_was(start, backend, certificates):
    postern = start(backend)
    before = {"reactor": postern.team("reactor", 1), "auth worker": postern.team("auth worker", 2)}
    with postern.log_in() as live:
        postern.configure(tls={"key": certificates.other_key}, hostname="new.example.org")
        assert any("does not belong to the certificate" in text for text in postern.reload_refused())
        live.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        with postern.connect() as new:
            assert new.command("EHLO x", 250).lines[0] == "mail.example.org"
    assert {role: postern.pids(role) for role in before} == before
