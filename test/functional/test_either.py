"""tls = "either": one port for clients that begin with TLS and for those that wait to be greeted."""

import shutil
import smtplib
import struct
import subprocess
import time

import pytest

from support import wait
from support.client import Client, Closed, context


@pytest.fixture
def either(start, backend):
    """either(**settings) -> a Postern with one port, `postern.port`; it waits for a second."""
    def make(listen=None, **settings):
        port = ("127.0.0.1", wait.free_port())
        postern = start(backend, listen={"one": {"address": "%s:%d" % port, "tls": "either",
                                                 **(listen or {})}}, **settings)
        postern.port = port
        return postern
    return make


KINDS = ("implicit", "starttls")


def connected(postern, kind, **options):
    """A client under TLS, behind EHLO."""
    one = Client(postern.port, tls=kind == "implicit", **options)
    one.greeting()
    if kind == "starttls":
        assert "STARTTLS" in one.ehlo()
        one.starttls()
    assert "STARTTLS" not in one.ehlo()
    return one


def run(*command, **options):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                            timeout=wait.PATIENCE * 3, check=False, **options)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def arrived(postern, backend, part):
    """The message has, and its client has been under TLS."""
    session = backend.session()
    backend.wait(lambda: session.messages and session.has_quit, "a message and QUIT")
    assert part.encode() in session.messages[0]
    record = postern.wait_for_record(event="session ended", user="alice")
    assert record["tls"].startswith("TLSv1.") and record["end"] == "quit"


@needs("swaks")
@pytest.mark.parametrize("kind", KINDS)
def test_swaks(either, backend, kind):
    postern = either()
    host, port = postern.port
    run("swaks", "--server", host, "--port", port, "--tlsc" if kind == "implicit" else "--tls",
        "--auth", "PLAIN", "--auth-user", "alice", "--auth-password", "wonderland", "--from",
        "a@mail.test", "--to", "b@mail.test", "--body", "Hello from swaks")
    arrived(postern, backend, "Hello from swaks")


@needs("curl")
@pytest.mark.parametrize("kind", KINDS)
def test_curl(either, backend, certificates, scratch, kind):
    postern = either()
    host, port = postern.port
    scheme = "smtps" if kind == "implicit" else "smtp"
    mail = scratch / "mail"
    mail.write_bytes(b"Subject: x\r\n\r\nHello from curl\r\n")
    run("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", certificates.certificate,
        "--resolve", f"mail.example.org:{port}:{host}", f"{scheme}://mail.example.org:{port}",
        "--user", "alice:wonderland", "--mail-from", "a@mail.test", "--mail-rcpt", "b@mail.test",
        "--upload-file", mail)
    arrived(postern, backend, "Hello from curl")


@needs("msmtp")
@pytest.mark.parametrize("kind", KINDS)
def test_msmtp(either, backend, kind):
    postern = either()
    host, port = postern.port
    run("msmtp", "--file=/dev/null", f"--host={host}", f"--port={port}", "--tls=on",
        f"--tls-starttls={'on' if kind == 'starttls' else 'off'}", "--tls-certcheck=off",
        "--auth=plain", "--user=alice", "--passwordeval=echo wonderland", "--from=a@mail.test",
        "b@mail.test", input="Subject: x\n\nHello from msmtp\n")
    arrived(postern, backend, "Hello from msmtp")


@pytest.mark.parametrize("kind", KINDS)
def test_smtplib(either, backend, kind):
    postern = either()
    if kind == "implicit":
        client = smtplib.SMTP_SSL(*postern.port, context=context())
    else:
        client = smtplib.SMTP(*postern.port)
        client.starttls(context=context())
    with client:
        client.login("alice", "wonderland")
        client.sendmail("a@mail.test", ["b@mail.test"], "Subject: x\r\n\r\nHello from smtplib\r\n")
    arrived(postern, backend, "Hello from smtplib")


@pytest.mark.parametrize("kind", KINDS)
def test_s_client(either, kind):
    """It checks the certificate and stops behind the handshake."""
    host, port = either().port
    run("openssl", "s_client", "-connect", f"{host}:{port}", "-brief",
        *(["-starttls", "smtp"] if kind == "starttls" else []), stdin=subprocess.DEVNULL)


def test_tls_is_not_made_to_wait(either):
    """The wait is for those who say nothing."""
    postern = either(timeouts={"either": 60})
    began = time.monotonic()
    connected(postern, "implicit").close()
    assert time.monotonic() - began < wait.PATIENCE


def test_who_says_nothing_is_greeted(either):
    postern = either()
    began = time.monotonic()
    with connected(postern, "starttls") as one:
        assert time.monotonic() - began >= 0.9
        one.login("alice", "wonderland")
        one.quit()
    assert postern.session_record(one)["user"] == "alice"


@pytest.mark.parametrize("first", [b"EHLO client.example\r\n", b"E", b"\r\n", b"\x7f", b"\x17\x03"])
def test_who_speaks_plainly_is_greeted_at_once(either, first):
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        one.send(first)
        one.greeting()


def test_commands_before_the_greeting_are_answered(either):
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        one.send(b"EHLO client.example\r\nNOOP\r\nAUTH PLAIN AGEAYg==\r\n")
        one.greeting()
        one.reply(250)
        one.reply(250)
        assert one.reply(530).status == "5.7.0"
        one.starttls()
        one.ehlo()
        one.login("alice", "wonderland")
        one.quit()


def test_plaintext_is_forgotten_behind_starttls(either):
    """Threat 1, on this kind of port too."""
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        one.send(b"EHLO client.example\r\n")
        one.greeting()
        one.reply(250)
        one.starttls(behind=b"NOOP\r\nEHLO evil.example\r\n")
        one.command("MAIL FROM:<a@b.test>", 503)
        one.ehlo()
        one.login("alice", "wonderland")
        one.quit()


def test_tls_behind_the_greeting_is_no_command(either):
    """Whoever comes too late with TLS is not answered with what he cannot read for ever."""
    postern = either(limits={"errors": 3})
    with Client(postern.port) as one:
        one.greeting()
        for _ in range(3):
            one.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n")
        for _ in range(3):
            one.reply(500)
        one.reply(421)
        one.expect_closed()


def test_first_byte_decides_however_long_the_rest_takes(either):
    """A ClientHello in pieces, of which the second comes when silence would have been greeted."""
    postern = either()
    with Client(postern.port) as slow:
        slow.send(b"\x16")
        with Client(postern.port) as other:
            other.greeting()  # the wait, and more, is over
        hello = client_hello()
        slow.send(hello[1:])
        assert slow.receive()[:2] == b"\x16\x03"


def client_hello():
    """A whole one."""
    import ssl
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context().wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()


def framed_as_sslv2(version, ciphers):
    """A ClientHello in the form of RFC 5246 appendix E.2, as old Java sends it."""
    specs = b"".join(b"\0" + each for each in ciphers)
    hello = b"\x01" + version + struct.pack("!HHH", len(specs), 0, 32) + specs + bytes(range(32))
    return struct.pack("!H", 0x8000 | len(hello)) + hello


#: AES128-SHA; AES128-SHA256.
HELLOS = {"1.0": framed_as_sslv2(b"\x03\x01", [b"\x00\x2f"]),
          "1.2": framed_as_sslv2(b"\x03\x03", [b"\x00\x3c"])}


@pytest.mark.parametrize("version", HELLOS)
@pytest.mark.parametrize("mode", ["implicit", "starttls", "either"])
def test_old_java_gets_the_same_on_every_kind_of_port(start, backend, certificates, mode, version):
    port = "127.0.0.1", wait.free_port()
    start(backend, tls=dict(zip(("certificate", "key"), certificates.pair("rsa"))),
          timeouts={"either": 60}, listen={"one": {
              "address": "%s:%d" % port, "tls": mode, "tls_minimum": "1.0"}})
    with Client(port) as one:
        if mode == "starttls":
            one.greeting()
            one.ehlo()
            one.command("STARTTLS", 220)
        one.send(HELLOS[version])
        answer = one.receive()
        assert answer[:1] == b"\x16" and answer[5:6] == b"\x02", answer  # ServerHello


def test_old_java_is_refused_under_tls_where_it_is_too_old(either):
    """It hears a TLS alert, and no SMTP that it cannot read."""
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        one.send(HELLOS["1.0"])
        assert one.receive_rest()[:1] == b"\x15"  # alert


def test_handshake_that_stops_is_ended(either):
    """Threat 23."""
    postern = either(timeouts={"handshake": 1})
    with Client(postern.port) as one:
        one.send(b"\x16\x03\x01")
        assert one.receive_rest() == b""
    assert postern.session_record(one)["end"] == "no TLS handshake in time"


def test_who_leaves_without_a_word_is_logged(either):
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        one.close()
    record = postern.session_record(one)
    assert (record["level"], record["end"]) == ("info", "client closed")


def test_http_closes(either):
    """Threat 18."""
    with Client(either().port) as one:
        one.send(b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n")
        one.greeting()
        one.reply(421)
        one.receive_rest()


@pytest.mark.parametrize("kind", KINDS)
def test_login_limits_are_those_of_other_ports(either, kind):
    postern = either(auth={"attempts": 2})
    with connected(postern, kind) as one:
        one.login("alice", "wrong", 535)
        one.login("alice", "as wrong", 535)
        one.receive_rest()
        with pytest.raises((Closed, OSError)):
            one.command("NOOP")


def test_full_house_is_not_told_in_plaintext(either):
    """Whether the newcomer speaks TLS is not known; who is greeted is told why it gives way."""
    postern = either(limits={"connections": 1}, timeouts={"either": 60})
    silent = Client(postern.port)
    talking = Client(postern.port)
    assert silent.receive_rest() == b""
    talking.send(b"NOOP\r\n")
    talking.greeting()
    talking.reply(250)
    with connected(postern, "implicit") as newest:
        talking.reply(421)
        newest.login("alice", "wonderland")
        with Client(postern.port) as refused:
            assert refused.receive_rest() == b""


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_load_balancer(either, backend, kind):
    postern = either(listen={"proxy_protocol": ["127.0.0.88"]})
    header = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 2525\r\n"
    with Client(postern.port, source="127.0.0.88") as one:
        if kind == "implicit":
            one.handshake(before=header)
        else:
            one.send(header)
        one.greeting()
        if kind == "starttls":
            one.ehlo()
            one.starttls()
        one.ehlo()
        one.login("alice", "wonderland")
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    assert backend.session().identity["ADDR"] == "203.0.113.9"


def test_shutdown_does_not_wait(either):
    postern = either(timeouts={"either": 60})
    with Client(postern.port) as one:
        with connected(postern, "implicit"):  # accepted behind it
            postern.stop()
        assert one.receive_rest() == b""
