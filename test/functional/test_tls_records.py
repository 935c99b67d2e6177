"""Records of TLS 1.3 after the handshake (RFC 8446 sections 4.6.3, 5 and 6): what clients may do
with them is understood, and what they may not is answered as it should be."""

import socket
import ssl
import subprocess
import threading

import pytest

from support import wait
from support.own_records import ALERT, DATA, HANDSHAKE, KEY_UPDATE, OwnRecords
from test_message import big
from test_tls import versions

SUITE = {"ciphersuites": "TLS_AES_128_GCM_SHA256"}


@pytest.fixture
def one(start, backend):
    """A client that has been greeted, and whose server is `one.server`."""
    postern = start(backend, tls=SUITE)
    with OwnRecords(postern.implicit) as made:
        made.server = postern
        made.greeting()
        yield made


# records of an agreed size

@pytest.mark.parametrize("size", [512, 1024, 2048, 4096])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_that_takes_small_records_gets_no_larger_ones(postern, version, size):
    """Threat 35, RFC 6066 section 4: small devices have no more room. The replies come at once."""
    host, port = postern.implicit
    commands = b"ehlo client.example\r\n" + b"noop\r\n" * 1000 + b"quit\r\n"
    client = subprocess.Popen(
        ["openssl", "s_client", version, "-quiet", "-maxfraglen", str(size), "-connect",
         f"{host}:{port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    timer = threading.Timer(wait.PATIENCE, client.kill)
    timer.start()
    client.stdin.write(commands)
    client.stdin.flush()
    said = client.stdout.read()
    timer.cancel()
    client.stdin.close()
    client.stdout.close()
    client.wait(wait.PATIENCE)
    assert b"221 2.0.0" in said, said[-1000:]
    assert said.count(b"250 2.0.0") == 1000


def test_client_may_pad_its_records(one):
    one.send_record(DATA, b"NOOP\r\n", padding=500)
    one.reply(250)


def test_client_may_send_empty_records(one):
    for _ in range(20):
        one.send(b"")
    one.command("NOOP", 250)


# packets, which are cut where they please

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("piece", [997, 16_000, 70_001])
def test_message_arrives_wherever_its_packets_are_cut(postern, backend, version, piece):
    """Each piece is on its way before the next one is."""
    message = big(700_000)
    with postern.log_in(tls_context=versions(version)) as one:
        for command, code in ("MAIL FROM:<a@b.test>", 250), ("RCPT TO:<c@d.test>", 250), ("DATA", 354):
            one.command(command, code)
        for start in range(0, len(message), 16_384):
            one.tls.write(message[start:start + 16_384])
        one.tls.write(b".\r\n")
        records = one._outgoing.read()
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(records), piece):
            one.socket.sendall(records[start:start + piece])
        one.reply(250)
        one.quit()
    assert backend.session().messages == [message + b".\r\n"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_commands_that_come_byte_by_byte_are_answered(postern, version):
    with postern.connect(tls_context=versions(version)) as one:
        one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for command in b"NOOP\r\n", b"RSET\r\n":
            one.tls.write(command)
            for byte in one._outgoing.read():
                one.socket.sendall(bytes([byte]))
            one.reply(250)
        one.quit()


# keys

@pytest.mark.parametrize("cut", range(1, 5))
def test_request_for_new_keys_may_come_in_two_records(one, cut):
    message = KEY_UPDATE + b"\1"
    one.send_record(HANDSHAKE, message[:cut])
    one.send_record(HANDSHAKE, message[cut:])
    one.next_key()
    one.command("NOOP", 250)
    one.command("NOOP", 250)
    one.quit()


def test_client_may_change_its_key_and_keep_ours(one):
    one.send_record(HANDSHAKE, KEY_UPDATE + b"\0")
    one.next_key()
    one.command("NOOP", 250)


def test_new_keys_and_a_command_in_one_packet(one):
    first = one.sealed(HANDSHAKE, KEY_UPDATE + b"\1")
    one.next_key()
    one.socket.sendall(first + one.sealed(DATA, b"NOOP\r\n"))
    one.reply(250)
    one.quit()


# faults: each is answered with its alert, which the client hears

#: What is sent, as records of (type, content, padding), and the alert of RFC 8446.
FAULTS = {
    "a type that there is not": ([(99, b"x")], "UNEXPECTED_MESSAGE"),
    "no type at all": ([(0, b"\0\0\0")], "UNEXPECTED_MESSAGE"),
    "a record that is too long inside": ([(DATA, b"x" * 16385)], "RECORD_OVERFLOW"),
    "new keys of a third kind": ([(HANDSHAKE, KEY_UPDATE + b"\2")], "ILLEGAL_PARAMETER"),
    "new keys and something behind": ([(HANDSHAKE, KEY_UPDATE + b"\1" + KEY_UPDATE)],
                                      "UNEXPECTED_MESSAGE"),
    "new keys without a kind": ([(HANDSHAKE, bytes([24, 0, 0, 0]))], "DECODE_ERROR"),
    "another handshake": ([(HANDSHAKE, bytes([1, 0, 0, 1, 0]))], "UNEXPECTED_MESSAGE"),
}


def ended(one):
    """The alert that has come instead of an answer, by its name."""
    with pytest.raises(ssl.SSLError) as raised:
        one.receive_rest()
    assert one.server.wait_for_record(event="session ended")["end"]
    return raised.value.reason


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_answered_with_its_alert(one, fault):
    records, alert = FAULTS[fault]
    for record in records:
        one.send_record(*record)
    assert alert in ended(one)


@pytest.mark.parametrize("sent, alert", [
    (b"\x17\x03\x03\x41\x01" + bytes(64), "RECORD_OVERFLOW"),
    (b"\x17\x03\x03\x00\x40" + bytes(64), "BAD_RECORD_MAC"),
    (b"\x16\x03\x03\x00\x05" + KEY_UPDATE + b"\1", "UNEXPECTED_MESSAGE"),
    (b"\x15\x03\x03\x00\x02\x02\x28", "UNEXPECTED_MESSAGE"),
], ids=["long", "not sealed", "keys in plaintext", "alert in plaintext"])
def test_what_was_not_sealed_is_answered_with_an_alert(one, sent, alert):
    one.socket.sendall(sent)
    assert alert in ended(one)


def test_cut_off_record_is_the_end_and_no_command(one):
    """What came before it is answered."""
    one.send(b"NOOP\r\n")
    one.socket.sendall(one.sealed(DATA, b"NOOP\r\n")[:-1])
    one.end_sending()
    one.reply(250)
    assert one.receive_rest() == b""


def test_client_that_sends_a_fatal_alert_is_heard(one):
    one.send_record(ALERT, b"\2\x28")
    assert one.receive_rest() == b""
    assert "alert" in one.server.wait_for_record(event="session ended")["end"]


def test_client_may_cancel_before_it_closes(one):
    """As Java's does (section 6.1)."""
    one.send_record(ALERT, b"\1\x5a")
    one.send_record(ALERT, b"\1\0")
    one.expect_closed()
    assert one.server.wait_for_record(event="session ended")["end"] == "client closed"


# what carries nothing keeps the loop busy for nothing

@pytest.mark.parametrize("record", [(HANDSHAKE, KEY_UPDATE + b"\0"), (HANDSHAKE, KEY_UPDATE + b"\1"),
                                    (DATA, b""), (ALERT, b"\1\x5a")],
                         ids=["keys", "our keys", "empty", "alerts"])
@pytest.mark.parametrize("at_once", [True, False])
def test_client_that_sends_nothing_but_records_is_cut_off(one, record, at_once):
    records = []
    for _ in range(40):
        records.append(one.sealed(*record))
        if record[0] == HANDSHAKE:
            one.next_key()
    records.append(one.sealed(DATA, b"NOOP\r\n"))
    try:
        for each in [b"".join(records)] if at_once else records:
            one.socket.sendall(each)
        said = one.receive_rest()
    except (OSError, ssl.SSLError):
        said = b""
    assert b"250" not in said
    assert one.server.wait_for_record(event="session ended")["end"]
