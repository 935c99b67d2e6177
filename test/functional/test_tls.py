"""TLS: what is spoken, what is refused, and how connections begin and end."""

import os
import pathlib
import re
import select
import socket
import ssl
import subprocess
import threading
import time
import warnings

import pytest

from support import wait
from support.client import Client, context


ETC = pathlib.Path(__file__).parents[2] / "etc"


def versions(version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made = context()
        made.minimum_version = made.maximum_version = version
    return made


def tickets_counted(made):
    """Counts the NewSessionTicket messages that a context's connections receive."""
    counted = []

    def message(_, direction, __, ___, kind, ____):
        if direction == "read" and kind == ssl._TLSMessageType.NEWSESSION_TICKET:
            counted.append(kind)
    made._msg_callback = message
    return counted


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["implicit", "starttls"])
def test_todays_versions_are_spoken(postern, version, how):
    with postern.connect(how, tls_context=versions(version)) if how == "implicit" else \
            postern.connect(None) as one:
        if how == "starttls":
            one.ehlo()
            one.starttls(versions(version))
        one.ehlo()
        one.login("alice", "wonderland")
        assert one.tls.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2",
                                     ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        one.quit()
    assert postern.session_record(one)["tls"] == one.tls.version()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(postern, version):
    old = versions(version)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"):
        Client(postern.implicit, tls=True, tls_context=old)


def test_minimum_can_be_raised(start, backend):
    postern = start(backend, tls={"minimum": "1.3"})
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"):
        Client(postern.implicit, tls=True, tls_context=versions(ssl.TLSVersion.TLSv1_2))
    postern.log_in(tls_context=versions(ssl.TLSVersion.TLSv1_3)).quit()


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA",
                                     "ECDHE-ECDSA-AES256-SHA384"])
def test_weak_ciphers_are_refused(postern, ciphers):
    weak = versions(ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers(ciphers + ":@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        Client(postern.implicit, tls=True, tls_context=weak)


@pytest.fixture
def rsa(certificates):
    """A certificate with an RSA key, as section tls has it."""
    return dict(zip(("certificate", "key"), certificates.pair("rsa")))


def agreed(address, ciphers, version=ssl.TLSVersion.TLSv1_2):
    """The cipher that a client with these gets; None: the server has none of them."""
    made = versions(version)
    made.set_ciphers(ciphers + ":@SECLEVEL=0")
    try:
        with Client(address, tls=True, tls_context=made) as one:
            one.greeting()
            return one.tls.cipher()[0]
    except ssl.SSLError as error:
        assert "HANDSHAKE_FAILURE" in str(error), error
        return None


@pytest.mark.parametrize("cipher", ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384",
                                    "DHE-RSA-CHACHA20-POLY1305"])
def test_dhe_that_the_postmaster_asks_for_is_spoken(start, backend, rsa, cipher):
    """A cipher that no client can ever get would be a line that says nothing."""
    postern = start(backend, tls={**rsa, "ciphers": cipher})
    assert agreed(postern.implicit, "ALL") == cipher


#: What Windows 8.1 and Server 2012 R2 have, in their order.
WINDOWS = "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:" \
    "ECDHE-RSA-AES128-SHA:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:" \
    "AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA:" \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"


def test_windows_of_2012_gets_in_as_the_manual_says(start, backend, certificates, rsa):
    """With an RSA certificate it needs what the manual adds; with an ECDSA one it does not."""
    text = (ETC / "postern.conf.5.in").read_text()
    default = re.search(r'^Default: "(ECDHE[\w:\\\n-]+)"', text, re.MULTILINE)[1].replace("\\\n", "")
    added, = re.findall(r"^\.Ql (:[\w:-]+)$", text, re.MULTILINE)
    assert agreed(start(backend, tls=rsa).implicit, WINDOWS) is None
    assert agreed(start(backend, tls={**rsa, "ciphers": default + added}).implicit, WINDOWS)
    both = start(backend, tls=rsa, certificate={
        "ec": {"certificate": certificates.certificate, "key": certificates.key}})
    assert agreed(both.implicit, WINDOWS) == "ECDHE-ECDSA-AES128-GCM-SHA256"


#: With an RSA certificate, in TLS 1.2; those that TLS 1.0 has as well.
OLD = ["AES128-SHA", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA",
       "DHE-RSA-AES128-SHA", "DHE-RSA-AES256-SHA"]
OLD_1_2 = ["AES128-SHA256", "AES256-SHA256", "AES128-GCM-SHA256", "AES256-GCM-SHA384",
           "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES128-SHA256",
           "DHE-RSA-AES256-SHA256", "DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-GCM-SHA384"]


def for_old_devices(start, backend, **tls):
    port = wait.free_port()
    start(backend, tls=tls, listen={"old": {"address": f"127.0.0.1:{port}", "tls": "implicit",
                                            "tls_minimum": "1.0"}})
    return "127.0.0.1", port


def test_listener_for_old_devices_takes_whatever_such_a_device_has(start, backend, certificates,
                                                                  rsa):
    """RSA key exchange, CBC with SHA-1 and SHA-2, DHE."""
    address = for_old_devices(start, backend, **rsa)
    for cipher in OLD + OLD_1_2:
        assert agreed(address, cipher) == cipher
    for cipher in OLD:
        assert agreed(address, cipher, ssl.TLSVersion.TLSv1) == cipher
    address = for_old_devices(start, backend, certificate=certificates.certificate,
                              key=certificates.key)
    for cipher in ("ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
                   "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA"):
        assert agreed(address, cipher) == cipher


def test_device_that_knows_only_short_groups_gets_no_dhe(start, backend, rsa):
    """Java 6 and 7 offer DHE, and fail with a group of more than 1024 bits."""
    address = for_old_devices(start, backend, **rsa)
    java = "DHE-RSA-AES128-SHA:AES128-SHA:DHE-RSA-AES256-SHA:AES256-SHA"
    assert agreed(address, java, ssl.TLSVersion.TLSv1) == "AES128-SHA"


def test_nothing_is_compressed(postern):
    with postern.connect(tls_context=versions(ssl.TLSVersion.TLSv1_2)) as one:
        assert one.tls.compression() is None


def test_renegotiation_is_refused(postern):
    """s_client renegotiates when it reads a line with R, and is told that nobody does."""
    host, port = postern.implicit
    client = subprocess.Popen(
        ["openssl", "s_client", "-tls1_2", "-connect", f"{host}:{port}"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    client.stdin.write(b"R\n")  # and stays open, so that the answer is waited for
    client.stdin.flush()
    timer = threading.Timer(wait.PATIENCE, client.kill)
    timer.start()
    said = client.stdout.read()
    timer.cancel()
    client.stdin.close()
    client.stdout.close()
    client.wait(wait.PATIENCE)
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said


def change_keys(postern, times):
    """What s_client and the server said while the client changed its key so many times, then EHLO."""
    host, port = postern.implicit
    client = subprocess.Popen(["openssl", "s_client", "-tls1_3", "-connect", f"{host}:{port}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, bufsize=0)
    timer = threading.Timer(wait.PATIENCE, client.kill)
    timer.start()
    said = b""

    def hear(what, count):
        nonlocal said
        while said.count(what) < count and (piece := client.stdout.read(4096)):
            said += piece

    try:
        hear(b"220 ", 1)
        for time in range(times):
            client.stdin.write(b"K\n")
            hear(b"KEYUPDATE", time + 1)
        client.stdin.write(b"EHLO x\r\n")
        hear(b"250 ", 1)
    except BrokenPipeError:
        pass
    finally:
        timer.cancel()
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()
    return said


def test_client_may_change_its_keys(postern):
    assert b"250 " in change_keys(postern, 5)


def test_client_that_only_changes_keys_is_cut_off(postern):
    assert b"250 " not in change_keys(postern, 40)
    assert postern.wait_for_record(event="session ended")["end"] == "TLS messages without end"


# the greeting within the handshake

def shake_hands_but_the_last_word(postern, settings):
    """A client that is done, as far as it can see, and has not sent its Finished: its TLS object,
    what it would send, and its socket."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = settings.wrap_bio(incoming, outgoing, server_hostname="mail.example.org")
    connected = socket.create_connection(postern.implicit, wait.PATIENCE)
    while True:
        try:
            tls.do_handshake()
            return tls, incoming, outgoing, connected
        except ssl.SSLWantReadError:
            connected.sendall(outgoing.read())
            received = connected.recv(65536)
            assert received, "closed"
            incoming.write(received)


def test_greeting_comes_with_the_servers_part_of_the_handshake(postern):
    """A round trip less for whoever answers at once; commands that come with the client's last
    word of the handshake are answered."""
    tls, incoming, outgoing, connected = shake_hands_but_the_last_word(
        postern, versions(ssl.TLSVersion.TLSv1_3))
    assert tls.read(4096) == b"220 mail.example.org ESMTP\r\n"
    tls.write(b"EHLO client.example\r\nNOOP\r\n")
    connected.sendall(outgoing.read())
    said = b""
    while b"250 2.0.0" not in said:
        incoming.write(connected.recv(65536))
        try:
            said += tls.read(4096)
        except ssl.SSLWantReadError:
            continue
    assert said.startswith(b"250-mail.example.org") and b"AUTH PLAIN LOGIN" in said
    connected.close()


@pytest.mark.parametrize("tickets", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_greeting_comes_once_however_it_comes(start, backend, tickets, version):
    postern = start(backend, tls={"tickets": tickets})
    with postern.connect(tls_context=versions(version)) as one:  # has read the greeting
        one.command("NOOP", 250)
        one.ehlo()
        one.login("alice", "wonderland")
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    record = postern.session_record(one)
    assert record["messages"] == "1" and record["end"] == "quit"


def test_greeting_is_kept_back_where_nothing_else_would_answer_the_client(start, backend):
    """Without a ticket behind it, a client whose Nagle waits for an acknowledgement would wait for
    a late one."""
    postern = start(backend, tls={"tickets": False})
    tls, _, outgoing, connected = shake_hands_but_the_last_word(
        postern, versions(ssl.TLSVersion.TLSv1_3))
    with pytest.raises(ssl.SSLWantReadError):
        tls.read(4096)
    connected.sendall(outgoing.read())
    connected.close()


def test_bytes_out_count_the_early_greeting(postern):
    with postern.connect(tls_context=versions(ssl.TLSVersion.TLSv1_3)) as one:
        one.quit()
    expected = len("220 mail.example.org ESMTP\r\n") + len("221 2.0.0 Bye\r\n")
    assert int(postern.session_record(one)["bytes_out"]) == expected


# ALPN

def test_alpn_that_means_smtp_is_agreed_on(postern):
    smtp = context()
    smtp.set_alpn_protocols(["http/1.1", "smtp"])
    with postern.connect(tls_context=smtp) as one:
        assert one.tls.selected_alpn_protocol() == "smtp"


# resumption

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_that_comes_back_is_resumed(start, backend, version):
    """Whichever of the reactors it meets, and after a reload too."""
    postern = start(backend, workers=2)
    settings = versions(version)
    with postern.log_in(tls_context=settings) as first:
        ticket = first.session_ticket()
        assert not first.tls.session_reused
    for attempt in range(6):
        if attempt == 3:
            postern.reload()
        with postern.log_in(tls_context=settings, session=ticket) as again:
            assert again.tls.session_reused


def set_clock(seconds):
    """So much later, or earlier. In the machine, which has a clock of its own."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


@pytest.mark.machine
def test_ticket_of_a_period_that_has_ended_is_worth_nothing_to_anybody(start, backend):
    """Even if the clock is set back: the keys cannot be made again."""
    postern = start(backend)
    settings, period = context(), 12 * 3600

    def visit(session):
        with postern.log_in(tls_context=settings, session=session) as one:
            return one.tls.session_reused, one.session_ticket()

    _, ticket = visit(None)
    assert visit(ticket)[0]
    set_clock(period)
    try:
        postern.reload()
        assert not visit(ticket)[0]
    finally:
        set_clock(-period)
    postern.reload()
    assert not visit(ticket)[0]


def test_one_ticket_is_sent_in_tls13(postern):
    settings = versions(ssl.TLSVersion.TLSv1_3)
    counted = tickets_counted(settings)
    with postern.log_in(tls_context=settings) as one:
        one.quit()
    assert len(counted) == 1


def test_tickets_can_be_switched_off(start, backend):
    postern = start(backend, tls={"tickets": False})
    settings = versions(ssl.TLSVersion.TLSv1_3)
    counted = tickets_counted(settings)
    with postern.log_in(tls_context=settings) as one:
        one.quit()
    assert counted == []


def test_session_of_one_listener_is_not_resumed_on_another(postern):
    """Threat 20: each listener has its own context."""
    settings = versions(ssl.TLSVersion.TLSv1_3)
    with postern.log_in(tls_context=settings) as first:
        ticket = first.session_ticket()
    with Client(postern.starttls) as other:
        other.greeting()
        other.command("STARTTLS", 220)
        other.handshake(settings, session=ticket)
        assert not other.tls.session_reused
        other.ehlo()
        other.quit()


# beginnings and ends

def test_goodbye_is_followed_by_close_notify(postern):
    """Before and after authentication; the client need not send one."""
    for one in (postern.connect(), postern.log_in()):
        with one:
            one.quit()
            assert one.ended_by_notify


@pytest.mark.parametrize("sent", [b"EHLO plain.example\r\n", b"GET / HTTP/1.1\r\n\r\n",
                                  b"\x16\x03\x01\x00\x02\x01\x00", b"\0" * 600])
def test_what_is_not_tls_gets_no_service(postern, sent):
    with Client(postern.implicit) as one:
        one.send(sent)
        one.end_sending()
        rest = one.receive_rest()
    assert b"220" not in rest and b"250" not in rest
    record = postern.session_record(one)
    assert "tls" not in record and record["end"]


def test_client_that_never_shakes_hands_is_let_go(start, backend):
    postern = start(backend, timeouts={"handshake": 1})
    with Client(postern.implicit) as silent, postern.connect(None) as late:
        late.ehlo()
        late.command("STARTTLS", 220)
        silent.receive_rest()
        late.receive_rest()
    for one in (silent, late):
        assert postern.session_record(one)["end"] == "no TLS handshake in time"


def test_handshake_in_crumbs_is_no_handshake_for_ever(start, backend):
    """A byte now and then does not buy time."""
    postern = start(backend, timeouts={"handshake": 1})
    hello, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(incoming, hello, server_hostname="mail.example.org")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with Client(postern.implicit) as one:
        for byte in hello.read()[:-1]:
            try:
                one.send(bytes([byte]))
            except OSError:
                break
            if select.select([one.socket], [], [], 0.02)[0]:
                break
        else:
            one.receive_rest()
    assert postern.session_record(one)["end"] == "no TLS handshake in time"


def test_handshake_byte_by_byte_succeeds(postern):
    with Client(postern.starttls) as one:
        one.greeting()
        one.command("STARTTLS", 220)
        whole = one.socket.sendall
        one._send_records = lambda: [whole(bytes([b])) for b in one._outgoing.read()]
        one.handshake()
        one.ehlo()
        one.quit()


def test_records_that_come_in_pieces_lose_nothing(postern, backend):
    """A read-ahead that held a record back would leave the session stuck."""
    with postern.log_in() as one:
        one.tls.write(b"NOOP\r\n")
        first = one._outgoing.read()
        one.tls.write(b"NOOP\r\n")
        second = one._outgoing.read()
        one.socket.sendall(first + second[:-1])
        one.reply(250)
        one.socket.sendall(second[-1:])
        one.reply(250)
        one.tls.write(b"NO")
        one.tls.write(b"OP\r\nNOO")
        one.tls.write(b"P\r\nQUIT\r\n")
        one._send_records()
        one.reply(250)
        one.reply(250)
        one.reply(221)


def test_broken_record_end_the_session(postern):
    with postern.connect() as one:
        one.tls.write(b"NOOP\r\n")
        record = bytearray(one._outgoing.read())
        record[-1] ^= 1
        one.socket.sendall(record)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            one.receive_rest()
        # Also if the client does not close.
        assert postern.session_record(one)["end"] == "decryption failed or bad record mac"


def test_certificate_is_the_configured_one(postern, certificates):
    with postern.connect() as one:
        shown = one.tls.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(certificates.certificate.read_text())


def test_session_says_in_the_log_what_was_agreed(postern):
    with postern.connect() as one:
        one.quit()
        agreed = one.tls.cipher()
    record = postern.session_record(one)
    assert record["cipher"] == agreed[0] and record["tls"] == agreed[1]


def test_machines_that_share_a_secret_resume_each_others_sessions(start, backend, scratch):
    secret = scratch / "secret"
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    shared = context()
    one, two, other = (start(backend, tls={"ticket_secret": path})
                       for path in (secret, secret, ""))

    def visit(postern, session=None):
        with postern.connect(tls_context=shared, session=session) as made:
            made.ehlo()
            ticket = made.session_ticket()
            made.quit()
            return made.tls.session_reused, ticket

    _, ticket = visit(one)
    assert visit(two, ticket)[0]
    assert not visit(other, ticket)[0]


@pytest.mark.parametrize("fault, why", [("missing", "No such file"), ("short", "from 32 to"),
                                        ("readable", "others can read it")])
def test_ticket_secret_that_is_none_stops_a_reload(start, backend, scratch, fault, why):
    secret = scratch / "secret"
    if fault != "missing":
        secret.write_bytes(b"x" * (10 if fault == "short" else 40))
        secret.chmod(0o644 if fault == "readable" else 0o600)
    postern = start(backend)
    postern.configure(tls={"ticket_secret": secret})
    assert any(str(secret) in each and why in each for each in postern.reload_refused())
