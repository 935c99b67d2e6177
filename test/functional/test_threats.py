"""What has broken systems of this kind, by its number in test/threats.md, which names the tests of
other files, too.
"""

import os
import re
import select
import socket
import ssl
import struct
import threading

import pytest

from conftest import needs_root
from support import backend as backends
from support import processes, wait
from support.client import Client, b64, context, plain_response
from support.pam import LOCKED

SPOOFS = ["XCLIENT ADDR=192.0.2.1 LOGIN=root", "xclient addr=192.0.2.1", "XcLiEnT LOGIN=root",
          " XCLIENT LOGIN=root", "\tXCLIENT LOGIN=root", "XCLIENT\tLOGIN=root", "XCLIENT",
          "XFORWARD ADDR=192.0.2.1 NAME=x", "xforward name=x", " XFORWARD NAME=x",
          "XCONNECT 192.0.2.1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2", "proxy UNKNOWN",
          "\0XCLIENT LOGIN=root", "XCLIENT\0LOGIN=root", "\x0bXCLIENT LOGIN=root",
          "\rXCLIENT LOGIN=root", "\xa0XCLIENT LOGIN=root"]
FORBIDDEN = re.compile(rb"(?i)xclient|xforward|xconnect|proxy tcp|proxy unknown")


def probe_is_over(backend):
    backend.wait(lambda: backend.connections and backend.connections[0].has_quit, "the probe")


def heard_from_client(session):
    """What the backend has received behind the last XCLIENT of Postern's."""
    return bytes(session.received).rpartition(b"XCLIENT ")[2].partition(b"\r\n")[2]


# 1, 2, 3: STARTTLS

@pytest.mark.parametrize("behind", [
    b"RSET\r\n", b"EHLO injected.example\r\n", b"MAIL FROM:<forged@b.test>\r\n", b"NOOP\r\n" * 500,
    b"AUTH PLAIN " + plain_response("mallory", "x").encode() + b"\r\n", b"QUIT\r\n", b"half a li"])
def test_threat_01_plaintext_behind_starttls_is_not_believed(postern, backend, behind):
    """Not executed, not answered, and not put in front of what comes encrypted."""
    with postern.connect(None) as one:
        one.ehlo()
        one.starttls(behind=behind)
        one.command("MAIL FROM:<a@b.test>", 503)
        one.ehlo("honest.example")
        one.login("alice", "wonderland")
        one.command("NOOP", 250)
        assert one.unread() == b""
    assert b"injected" not in backend.everything_received()
    assert backend.session().identity["HELO"] == "honest.example"


def test_threat_01_plaintext_in_the_packet_behind_is_not_believed(postern):
    """The same in a packet of its own, while the handshake is awaited: no TLS comes of it."""
    with postern.connect(None) as one:
        one.ehlo()
        one.command("STARTTLS", 220)
        one.send(b"RSET\r\nMAIL FROM:<forged@b.test>\r\n")
        assert b"250" not in one.receive_rest()


def test_threat_02_nothing_is_remembered_across_starttls(postern):
    with postern.connect(None) as one:
        one.ehlo()
        one.starttls()
        one.command("MAIL FROM:<a@b.test>", 503)
        one.command("RCPT TO:<a@b.test>", 503)
        one.command("STARTTLS", 503)
        one.ehlo()
        one.command("MAIL FROM:<a@b.test>", 530)
        one.command("STARTTLS", 503)
        one.login("alice", "wonderland")
        one.command("STARTTLS", 503)


@pytest.mark.parametrize("command", ["AUTH PLAIN " + plain_response("alice", "wonderland"),
                                     "AUTH PLAIN", "AUTH LOGIN", "auth plain AGEAYg==",
                                     "MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test>", "DATA"])
def test_threat_02_no_login_and_no_mail_before_tls(postern, backend, command):
    with postern.connect(None) as one:
        for greeting in ("EHLO x", "HELO x"):
            one.command(greeting, 250)
            assert one.command(command).code in (503, 530)
    assert not backend.sessions


def test_threat_03_replies_of_plaintext_are_not_taken_for_encrypted_ones(postern):
    """Towards the client: everything said before the handshake has been said before the 220."""
    with postern.connect(None) as one:
        one.send(b"EHLO x\r\nNOOP\r\nNOOP\r\nSTARTTLS\r\n")
        assert [one.reply().code for _ in range(4)] == [250, 250, 250, 220]
        one.handshake()
        assert one.unread() == b""
        one.ehlo()


# 4, 5: who the client is

@pytest.mark.parametrize("spoof", SPOOFS)
@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_threat_04_identity_is_not_the_clients_to_say(postern, backend, spoof, pipelined, line_end):
    """Before authentication and after it, in any spelling, pipelining and line ending."""
    with postern.connect() as one:
        one.ehlo()
        assert one.command(spoof).code >= 500
        one.login("alice", "wonderland")
        session = backend.session()
        if pipelined:
            one.send(f"MAIL FROM:<a@b.test>{line_end}{spoof}{line_end}"
                     f"RCPT TO:<c@d.test>{line_end}{spoof}{line_end}DATA{line_end}")
            codes = [one.reply().code for _ in range(5)]
            assert codes[0] == codes[2] == 250 and codes[4] == 354
            assert codes[1] >= 500 and codes[3] >= 500
            one.send(f"{spoof}{line_end}\r\n.\r\n")
            one.reply(250)
            message = session.messages[0]
        else:
            one.send(spoof + line_end)
            assert one.reply().code >= 500
            message = b""
        one.command("NOOP", 250)
    commands = heard_from_client(session).replace(message, b"")
    assert not FORBIDDEN.search(commands), commands
    assert session.identity["LOGIN"] == "alice" and session.identity["ADDR"] == "127.0.0.9"


def test_threat_04_spoof_ahead_of_the_verdict_does_not_pass(postern, backend):
    """Sent together with AUTH: it is the relay's first input."""
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland") +
                 "\r\nXCLIENT LOGIN=root\r\nxforward name=x\r\nNOOP\r\n")
        assert [one.reply().code for _ in range(4)] == [235, 550, 550, 250]
    assert heard_from_client(backend.session()) == b"EHLO client.example\r\nNOOP\r\n"


@pytest.mark.parametrize("message", [b"\n.\nXCLIENT LOGIN=root\n", b"\r.\rXCLIENT LOGIN=root\r",
                                     b"\n.\r\nXCLIENT LOGIN=root\r\n",
                                     b"\r\n.\nXCLIENT LOGIN=root\r\n"])
def test_threat_04_spoof_smuggled_in_a_message_does_not_pass(start, backend, message):
    backend.ends = backends.CREDULOUS_ENDS
    with start(backend).log_in() as one:
        one.send_message("a@b.test", ["c@d.test"], b"honest" + message + b"\r\n")
        one.quit()
    session = backend.session()
    assert session.verbs.count("XCLIENT") == len(session.xclient) == 1
    assert session.identity["LOGIN"] == "alice"


def test_threat_05_authorship_is_not_the_clients_to_claim(postern, backend):
    with postern.log_in() as one:
        for line in ("MAIL FROM:<a@b.test> AUTH=root", "mail from:<a@b.test> auth=<>",
                     "MAIL FROM:<a@b.test> BODY=8BITMIME AuTh=x+3Dy SIZE=1"):
            one.command(line, 250)
            one.command("RSET", 250)
    assert b"auth=" not in bytes(backend.session().received).lower()


# 6: fail closed

@pytest.mark.parametrize("fault", ["not offered", "refused", "timed out", "offered no more",
                                   "no login", "closed"])
def test_threat_06_without_identity_nothing_is_forwarded(start, backend, fault):
    postern = start(backend, timeouts={"backend_identity": 1, "backend_connect": 1})
    probe_is_over(backend)
    release = threading.Event()
    if fault == "offered no more":
        postern.log_in().quit()
    if fault in ("not offered", "offered no more"):
        backend.attributes = None
    if fault == "no login":
        backend.attributes = "NAME ADDR"
    if fault == "refused":
        backend.on("XCLIENT", "550 5.7.0 Who are you")
    if fault == "timed out":
        backend.on("XCLIENT", lambda connection, _: connection.hold(release))
    if fault == "closed":
        backend.on("XCLIENT", lambda connection, _: connection.drop())
    before = len(backend.connections)
    with postern.connect() as one:
        one.ehlo("marker.example")
        one.send("AUTH PLAIN " + plain_response("alice", "wonderland") +
                 "\r\nMAIL FROM:<marker@b.test>\r\nNOOP marker\r\n")
        assert one.reply().code in (421, 451, 454)
        one.expect_closed()
    release.set()
    for connection in backend.connections[before:]:
        assert b"MAIL" not in connection.received and b"NOOP" not in connection.received


# 7: smuggling. The tables are in test_message.py.

@pytest.mark.parametrize("line", [b"NOOP\rMAIL FROM:<a@b.test>", b"NOOP\0", b"RSET\r", b"\rRSET",
                                  b"MAIL FROM:<a@b.test>\rXCLIENT LOGIN=root"])
def test_threat_07_bare_return_in_a_command_does_not_split_it(postern, backend, line):
    with postern.log_in() as one:
        heard = len(backend.session().received)
        assert one.command(line).code == 500
        one.command("NOOP", 250)
    assert bytes(backend.session().received[heard:]) == b"NOOP\r\n"


def test_threat_07_line_feed_alone_reaches_the_backend_as_a_whole_line_end(postern, backend):
    with postern.log_in() as one:
        one.send(b"MAIL FROM:<a@b.test>\nRSET\n")
        one.reply(250)
        one.reply(250)
    assert heard_from_client(backend.session()).endswith(b"MAIL FROM:<a@b.test>\r\nRSET\r\n")


# 8: BDAT

def test_threat_08_chunk_bytes_are_never_commands(postern, backend):
    chunk = b"XCLIENT LOGIN=root\r\nQUIT\r\n.\r\nBDAT 5 LAST\r\n"
    with postern.log_in() as one:
        session = backend.session()
        one.command("MAIL FROM:<a@b.test>", 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send(b"BDAT %d\r\n" % len(chunk) + chunk + b"BDAT 1 LAST\r\nxNOOP\r\n")
        assert [one.reply().code for _ in range(3)] == [250] * 3
    assert session.chunked == [chunk + b"x"]
    assert session.verbs[-3:] == ["BDAT", "BDAT", "NOOP"]


def test_threat_08_bdat_before_authentication_closes(postern, backend):
    for one in (postern.connect(), postern.connect(None)):
        with one:
            one.ehlo()
            one.send(b"BDAT 8 LAST\r\nNOOP\r\n\r\n")
            assert one.reply().code >= 500
            one.expect_closed()


# 9: EHLO

@pytest.mark.parametrize("keyword", ["STARTTLS", "AUTH PLAIN", "AUTH=PLAIN", "XCLIENT NAME ADDR",
                                     "XFORWARD NAME", "XSECURITY", "PIPECONNECT", "BURL imap",
                                     "HELP", "X-ANYTHING", "xclient", "Burl", "XEXCH50", "TURN",
                                     "REQUIRETLS", "SIZE\t1"])
def test_threat_09_backends_own_offers_do_not_leak(start, backend, keyword):
    backend.extensions = ("PIPELINING", keyword, "DSN")
    postern = start(backend)
    probe_is_over(backend)
    with postern.connect() as one:
        before = one.ehlo()
        one.login("alice", "wonderland")
        after = one.ehlo()
    assert before == {"PIPELINING": "", "DSN": "", "AUTH": "PLAIN LOGIN"}
    assert after == {"PIPELINING": "", "DSN": ""}


# 10: attributes

@pytest.mark.parametrize("login", ["a b", "a+b", "a=b", "a ADDR=192.0.2.1", "x LOGIN=root", "+20",
                                   "üser", "a\x80b", "a;b", "~"])
def test_threat_10_login_stays_one_attribute(start, backend, login):
    """Whatever it holds: decoded, it is what PAM has let in; and the line is printable ASCII."""
    with start(backend, auth={"pam_service": "permit"}).log_in(login, "x"):
        session = backend.session()
    for line in session.xclient:
        assert all(0x20 <= byte <= 0x7e for byte in line)
        words = line.split(b" ")
        assert all(word.count(b"=") == 1 for word in words)
    assert session.identity["LOGIN"] == login
    assert session.identity["ADDR"] == "127.0.0.9"


@pytest.mark.parametrize("name", ["a+b", "a=b", "x;LOGIN=root", "[127.0.0.1]"])
def test_threat_10_helo_name_stays_one_attribute(start, backend, name):
    with start(backend).connect() as one:
        one.ehlo(name)
        one.login("alice", "wonderland")
        session = backend.session()
    assert session.identity["HELO"] == name and session.identity["LOGIN"] == "alice"
    assert b"=root" not in b" ".join(session.xclient)


def test_threat_10_login_that_means_nothing_known_is_refused(start, backend):
    """XCLIENT has words that are no names; nobody is let in under one of them."""
    postern = start(backend, auth={"pam_service": "permit"})
    for login in ("[UNAVAILABLE]", "[TEMPUNAVAIL]", "[unavailable]"):
        with postern.connect() as one:
            one.ehlo()
            one.login(login, "x", 454)
    assert not backend.sessions


@pytest.mark.parametrize("login", ["a\nb", "a\rb", "a\r\nXCLIENT LOGIN=root", "a\x1bb", "\x7f"])
def test_threat_10_login_with_a_control_character_is_refused(start, backend, login):
    with start(backend, auth={"pam_service": "permit"}).connect() as one:
        one.ehlo()
        one.login(login, "x", 501)
    assert not backend.sessions


@pytest.mark.parametrize("login", ["a\nb", "a\r\nXCLIENT LOGIN=root", "x" * 256, ""])
def test_threat_10_login_that_pam_makes_up_is_checked_too(start, backend, login):
    """A module may map a name to anything; what cannot be told is refused."""
    postern = start(backend, auth={"pam_service": "renamed"}, environment={"PAM_USER": login})
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "wonderland", 454, 535)
    assert not backend.sessions


# 11, 12, 13: credentials

def test_threat_11_bad_credentials_touch_nobody_else(postern):
    """Over and over, in all malformations, next to a session that goes on."""
    with postern.log_in() as bystander:
        for response in ("", "=", "*", "A", "AA", "AAA", "====", b64("\0" * 3000), "Q" * 12_200,
                         b64(os.urandom(300)), b64("\0\0\0"), b64("a\0b"), "\x80\x81", "QQ=="):
            with postern.connect() as one:
                one.ehlo()
                one.send(b"AUTH PLAIN " + response.encode("latin-1") + b"\r\n")
                assert one.reply().code in (334, 500, 501, 535)
            with postern.connect() as one:
                one.ehlo()
                one.command("AUTH LOGIN", 334)
                one.send(response.encode("latin-1") + b"\r\n")
                assert one.reply().code in (334, 500, 501)
            bystander.command("NOOP", 250)
    assert postern.find_records(level="error") == []


def test_threat_12_somebody_elses_identity_is_refused(postern, backend):
    with postern.connect() as one:
        one.ehlo()
        one.command("AUTH PLAIN " + plain_response("alice", "wonderland", authzid="bob"), 535)
        one.command("AUTH PLAIN " + plain_response("alice", "wonderland", authzid="ALICE"), 535)
        one.command("AUTH PLAIN " + plain_response("alice", "wonderland", authzid="alice"), 235)
    assert backend.session().identity["LOGIN"] == "alice"
    assert postern.find_records(event="login failed", user="alice", result="rejected")


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "DIGEST-MD5", "EXTERNAL", "ANONYMOUS", "XOAUTH2",
                                       "OAUTHBEARER", "GSSAPI", "NTLM", "SCRAM-SHA-256", "plain2"])
def test_threat_13_only_offered_mechanisms_are_accepted(postern, mechanism):
    with postern.connect() as one:
        one.ehlo()
        one.command(f"AUTH {mechanism}", 504)
        one.command(f"AUTH {mechanism} " + b64("alice"), 504)


# 14: PAM that blocks

def test_threat_14_fifty_failures_at_once_delay_nobody(start, backend):
    """EHLO and the login of another client are answered before any of them, at a delay of 10 s or
    more: a worker that slept for one of them would be free no sooner."""
    postern = start(backend, auth={"pam_service": "very_slow", "workers": 4})
    failing = []
    for number in range(50):
        one = postern.connect(source=f"127.0.4.{number + 1}")
        one.ehlo()
        failing.append(one)
    bystander = postern.connect(source="127.0.0.50")
    for one in failing:
        one.send("AUTH PLAIN " + plain_response("alice", "wrong") + "\r\n")
    bystander.ehlo()
    bystander.login("alice", "wonderland")
    bystander.command("NOOP", 250)
    assert not select.select([one.socket for one in failing], [], [], 0)[0], "one was answered"
    for one in failing:
        one.close()


def test_threat_14_stuck_module_costs_one_login(start, backend, pam):
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "timeout": 1})
    worker = postern.sole("auth worker")
    with postern.connect() as one:
        one.ehlo()
        one.login("bob", "builder", 454)
        one.login("alice", "wonderland")
    wait.until(lambda: not processes.alive(worker), "the end of the worker that was stuck")
    assert postern.sole("auth worker") != worker


# 15, 16 are in test_pam.py: enumeration, the account phase, PAM_RHOST.

def test_threat_15_length_of_a_password_is_capped(postern):
    with postern.connect() as one:
        one.ehlo()
        one.login("alice", "x" * 1025, 501)
        one.login("alice", "x" * 9000, 501)


def test_threat_16_account_phase_counts(start, backend):
    with start(backend).connect() as one:
        one.ehlo()
        one.login(*LOCKED, 535)
    assert not backend.sessions


# 18: other protocols

@pytest.mark.parametrize("protocols", [["h2"], ["http/1.1"], ["imap", "pop3"], ["SMTP"]])
def test_threat_18_alpn_without_smtp_is_refused(postern, protocols):
    other = context()
    other.set_alpn_protocols(protocols)
    with pytest.raises(OSError, match="(?i)alert no application protocol"):
        Client(postern.implicit, tls=True, tls_context=other)


@pytest.mark.parametrize("request_line", [
    b"GET / HTTP/1.1\r\nHost: mail\r\n\r\n", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nNOOP\r\n",
    b"PUT /x HTTP/1.0\r\n\r\n", b"CONNECT mail:25 HTTP/1.1\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n",
    b"get / http/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
@pytest.mark.parametrize("state", ["plain", "secure", "authenticated"])
def test_threat_18_first_http_verb_closes(postern, backend, request_line, state):
    one = {"plain": lambda: postern.connect(None), "secure": postern.connect,
           "authenticated": postern.log_in}[state]()
    with one:
        one.send(request_line)
        one.reply(421)
        one.expect_closed()
    assert b"HTTP" not in backend.everything_received()


def test_threat_18_errors_close(start, backend):
    with start(backend, limits={"errors": 5}).connect() as one:
        one.send(b"Host: mail\r\nUser-Agent: x\r\nAccept: y\r\nCookie: z\r\nX: y\r\nNOOP\r\n")
        assert [one.reply().code for _ in range(6)] == [500] * 5 + [421]
        one.expect_closed()


# 19 is in test_balancer.py: headers of load balancers.

# 20

def test_threat_20_session_of_another_listener_is_not_resumed(postern):
    settings = context()
    with postern.log_in(tls_context=settings) as first:
        ticket = first.session_ticket()
    with Client(postern.starttls) as other:
        other.greeting()
        other.command("STARTTLS", 220)
        other.handshake(settings, session=ticket)
        assert not other.tls.session_reused


# 21: what processes inherit; see test_pam.py and test_processes.py, too.

@needs_root
def test_threat_21_auth_worker_holds_no_network_socket(postern):
    with postern.log_in():
        networks = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                networks |= {line.split()[9] for line in file.readlines()[1:]}
        for worker in postern.team("auth worker", 2):
            for what in processes.descriptors(worker).values():
                assert re.sub(r"\D", "", what) not in networks or not what.startswith("socket:")


@needs_root
def test_threat_21_programs_of_modules_inherit_nothing(start, backend, pam):
    """What pam_exec starts has no descriptor of ours but the log."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 1})
    with postern.connect() as one:
        one.ehlo()
        one.send("AUTH PLAIN " + plain_response("bob", "builder") + "\r\n")
        wait.until(lambda: pam.stuck_count() == 1, "bob in the module")
        worker = postern.sole("auth worker")
        (program,) = processes.children(worker)
        held = processes.descriptors(program)
        assert not [what for what in held.values() if what.startswith("socket:")], held
        pam.release()
        one.reply(235)


def test_threat_21_randomness_is_not_shared(start, backend):
    """Two reactors from the same master: server randoms and tickets differ."""
    postern = start(backend, workers=2)
    randoms = set()
    for _ in range(12):
        randoms.add(server_random(postern.implicit))
    assert len(randoms) == 12


def server_random(address):
    """32 bytes of the ServerHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(address) as connection:
        connection.settimeout(wait.PATIENCE)
        connection.sendall(outgoing.read())
        head = b""
        while len(head) < 43:
            head += connection.recv(43 - len(head))
    assert head[0] == 22 and head[5] == 2
    return head[11:43]


# 22: what helpers say; its parsers are fuzzed.

def test_threat_22_worker_that_falls_over_does_not_confuse(start, backend, pam):
    """Each login gets its own verdict, whatever happened to the one before."""
    postern = start(backend, auth={"pam_service": "gated", "workers": 1, "timeout": 1})
    for _ in range(3):
        with postern.connect() as one:
            one.ehlo()
            one.login("bob", "builder", 454)
        pam.reset()
        with postern.connect() as one:
            one.ehlo()
            one.login("alice", "wrong", 535)
            one.login("alice", "wonderland", 235)
    assert [s.identity["LOGIN"] for s in backend.sessions] == ["alice"] * 3


# 23: exhaustion; see test_limits.py and test_tls.py, too.

def test_threat_23_reset_storm_is_survived(postern):
    """Connections that are reset before they are accepted, in a handshake, in a greeting."""
    for number in range(200):
        raw = socket.create_connection((postern.implicit, postern.starttls)[number % 2])
        if number % 3 == 0:
            raw.sendall(b"\x16\x03\x01\x02\x00\x01")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
    postern.log_in().quit()
    postern.sole("reactor")


def test_threat_23_each_stage_has_its_end(start, backend):
    postern = start(backend, timeouts={"handshake": 1, "greeting": 1, "login": 2, "idle": 1})
    silent_tls, silent, talker = Client(postern.implicit), Client(postern.starttls), \
        postern.connect()
    talker.ehlo()
    idle = postern.log_in()
    for one in (silent_tls, silent, talker, idle):
        one.receive_rest()
    ends = {one: postern.session_record(one)["end"] for one in (silent_tls, silent, talker, idle)}
    assert list(ends.values()) == ["no TLS handshake in time", "no command in time",
                                   "no authentication in time", "idle for too long"]


# 24: reload; the faults are in test_processes.py.

def test_threat_24_broken_certificate_on_reload_keeps_the_old_one(start, backend, certificates,
                                                                  scratch):
    certificate, key = certificates.install("good", scratch)
    postern = start(backend, tls={"certificate": certificate, "key": key})
    live = postern.log_in()
    certificate.write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
    assert any(str(certificate) in text for text in postern.reload_refused())
    live.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    live.quit()
    postern.log_in().quit()


# 25

def test_threat_25_half_closed_client_gets_its_replies(postern, backend):
    """FIN behind the last command, without close_notify, as simple clients do."""
    release = threading.Event()

    def late(connection, _):
        connection.hold(release)
        connection.say("250 2.0.0 Late")
    backend.on("message", late)
    with postern.log_in() as one:
        one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        for code in (250, 250, 354):
            one.reply(code)
        one.send("x\r\n.\r\n")
        one.end_sending()
        backend.wait(lambda: backend.session().messages, "the message")
        release.set()
        assert one.reply(250).lines == ["2.0.0 Late"]
        one.receive_rest()


def test_threat_25_half_closed_before_authentication(postern):
    with postern.connect(None) as one:
        one.send(b"EHLO x\r\nNOOP\r\n")
        one.end_sending()
        one.reply(250)
        one.reply(250)
        one.receive_rest()


# 26

@pytest.mark.parametrize("extensions", [(), ("SIZE 1000",), ("SIZE",), ("CHUNKING", "BINARYMIME"),
                                        ("BINARYMIME",), ("SMTPUTF8", "8BITMIME")])
def test_threat_26_nothing_is_offered_that_the_backend_does_not_have(start, backend, extensions):
    backend.extensions = extensions
    postern = start(backend)
    probe_is_over(backend)
    with postern.connect() as one:
        offered = one.ehlo()
    expected = {each.partition(" ")[0] for each in extensions} | {"AUTH"}
    if "CHUNKING" not in expected:
        expected.discard("BINARYMIME")
    assert set(offered) == expected
    assert offered.get("SIZE", "") == ("1000" if "SIZE 1000" in extensions else "")


# 27 is in test_limits.py.

def test_threat_27_newest_user_is_not_turned_away(start, backend):
    postern = start(backend, limits={"connections": 5})
    crowd = [postern.connect() for _ in range(5)]
    user = postern.log_in()
    crowd[0].reply(421)
    user.send_message("a@b.test", ["c@d.test"], b"x\r\n")
    user.quit()


# 28

def test_threat_28_each_failure_has_its_own_words(start, backend):
    """For the client and, in full, for the log."""
    postern = start(backend, timeouts={"backend_identity": 3, "backend_connect": 3})
    probe_is_over(backend)
    release = threading.Event()
    faults = [
        ("connect", "250 5.3.2 Strange", "backend refused the connection: 250 5.3.2 Strange"),
        ("EHLO", "502 5.5.1 Strange", "backend refused EHLO: 502 5.5.1 Strange"),
        ("XCLIENT", "550 5.7.0 Not you", "backend refused XCLIENT: 550 5.7.0 Not you"),
        ("XCLIENT", lambda connection, _: connection.hold(release), "not ready in 3 s"),
        ("connect", lambda connection, _: connection.send("garbage\r\n"), "does not speak SMTP"),
        ("connect", lambda connection, _: connection.drop(), "closed"),
    ]
    texts = set()
    for step, action, cause in faults:
        backend.actions = {step: action}
        with postern.connect() as one:
            one.ehlo()
            texts.add(one.login("alice", "wonderland", 454).text)
        record = postern.wait_for_record(event="session refused", port=str(one.port))
        assert cause in record["cause"]
        assert postern.session_record(one)["end"] == record["cause"]
    release.set()
    assert len(texts) >= 4
    assert not any("internal" in text.lower() for text in texts)
