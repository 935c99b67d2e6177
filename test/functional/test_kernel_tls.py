"""TLS that the kernel does, `tls { kernel = true }`: what arrives is the same, and ends the same.

OpenSSL has the kernel seal and open the records of TLS 1.2, and seal those of TLS 1.3.

Most of this is run in a virtual machine: not every kernel has TLS.
"""

import collections
import contextlib
import pathlib
import re
import ssl
import subprocess
import tempfile
import threading

import pytest

from support import control, processes, wait
from support.backend import Backend
from support.client import Client, plain_response
from support.postern import LEAN, Postern
from test_message import REPAIRED, SMUGGLED, big
from test_tls import versions

SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
CIPHERS = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
           "ECDHE-ECDSA-CHACHA20-POLY1305")

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
LARGE = big(1_300_000)

in_machine = pytest.mark.machine


def statistic(name):
    """One of the kernel's own counts of what its TLS has done."""
    return int(re.search(rf"^{name}\s+(\d+)$", pathlib.Path("/proc/net/tls_stat").read_text(),
                         re.MULTILINE)[1])


def taken_over():
    """For so many sessions the kernel has been asked to open, and to seal."""
    return statistic("TlsRxSw"), statistic("TlsTxSw")


def is_taken_over(version, before):
    """One session more than `before`, as far as OpenSSL does that with this version."""
    opened, sealed = before
    return taken_over() == (opened + (version == TLS12), sealed + 1)


def begin_message(one):
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.command("DATA", 354)


def send(one, message):
    one.send_message("a@b.test", ["c@d.test"], message)


@pytest.fixture(scope="module")
def server_and_backend(work, certificates, pam_services):
    """For all tests that change nothing of them: a start takes its time in the machine."""
    with contextlib.closing(Backend()) as backend:
        postern = Postern(tempfile.mkdtemp(dir=work), certificates, pam_services, backend.address,
                          tls={"kernel": True})
        yield postern, backend
        postern.stop()


@pytest.fixture
def postern(server_and_backend):
    return server_and_backend[0]


@pytest.fixture
def backend(server_and_backend):
    """Without what the tests before have left."""
    made = server_and_backend[1]
    made.connections.clear()
    made.actions.clear()
    return made


@pytest.fixture(params=[TLS12, TLS13], ids=["TLSv1.2", "TLSv1.3"])
def one(request, postern, backend):
    """A client that has logged in; `one.version` is its TLS's."""
    before = taken_over()
    with postern.log_in(tls_context=versions(request.param)) as made:
        made.version = request.param
        assert is_taken_over(made.version, before)
        yield made


def messages(backend):
    return [each.removesuffix(b".\r\n") for each in backend.session().messages]


def ends_without_a_message(backend):
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    return messages(backend) == []


# Refusals come first: the kernel keeps the parts that it has loaded.

@in_machine
def test_mail_passes_where_the_kernel_lacks_the_cipher(start, backend):
    loader = pathlib.Path("/proc/sys/kernel/modprobe")
    path = loader.read_text()
    loader.write_text("/nowhere")
    try:
        postern = start(backend, tls={"kernel": True, "ciphersuites": SUITES[2]})
        with postern.log_in() as one:
            send(one, LARGE)
            send(one, b"more\r\n")
            one.quit()
    finally:
        loader.write_text(path)
    assert messages(backend) == [LARGE, b"more\r\n"]
    assert postern.find_records(level="warning", msg=re.compile("^the kernel does no TLS"))
    assert control.metrics(postern)["postern_tls_kernel_sessions_total"] == 0


@in_machine
@pytest.mark.parametrize("version, name, how", [
    *((TLS13, name, "implicit") for name in SUITES), *((TLS12, name, "implicit") for name in CIPHERS),
    (TLS13, SUITES[0], "starttls"), (TLS12, CIPHERS[0], "starttls")])
def test_large_messages_arrive_byte_for_byte(start, backend, version, name, how):
    key = "ciphersuites" if version == TLS13 else "ciphers"
    postern = start(backend, tls={"kernel": True, key: name})
    message, before = big(3_000_001), taken_over()
    with postern.log_in(tls=how, tls_context=versions(version)) as one:
        assert one.tls.cipher()[0] == name
        assert is_taken_over(version, before)
        send(one, message)
        one.quit()
    assert messages(backend) == [message]
    postern.session_record(one)
    assert control.metrics(postern)["postern_tls_kernel_sessions_total"] == 1


@in_machine
def test_session_goes_on_with_small_messages_and_a_large_one(backend, one):
    sent = [b"%d\r\n" % number for number in range(20)] + [LARGE, b"last\r\n"]
    for message in sent:
        send(one, message)
    one.quit()
    assert one.ended_by_notify
    assert messages(backend) == sent


@in_machine
def test_pipelined_commands_are_all_answered(backend, one):
    for _ in range(3):
        one.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        assert [one.reply().code for _ in range(3)] == [250, 250, 354]
        one.send(b"text\r\n.\r\nRSET\r\nNOOP\r\n")
        assert [one.reply().code for _ in range(3)] == [250, 250, 250]
    one.send(b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nRSET\r\nQUIT\r\n")
    assert [one.reply().code for _ in range(4)] == [250, 250, 250, 221]
    one.expect_closed()
    assert one.ended_by_notify
    assert messages(backend) == [b"text\r\n"] * 3


@in_machine
def test_chunks_arrive_byte_for_byte(backend, one):
    chunk = big(1_000_000).translate(None, b"\r\n\0")
    one.command("MAIL FROM:<a@b.test>", 250)
    one.command("RCPT TO:<c@d.test>", 250)
    one.send(b"BDAT %d\r\n%sBDAT 3 LAST\r\nxyzNOOP\r\n" % (len(chunk), chunk))
    assert [one.reply().code for _ in range(3)] == [250] * 3
    assert backend.session().chunked == [chunk + b"xyz"]


@in_machine
def test_records_that_come_in_pieces_lose_nothing(backend, one):
    """Wherever the packets are cut; many small records in one read, too."""
    lines = [b"%d\r\n" % number for number in range(60)]
    for pieces in (1, 3, 700):
        begin_message(one)
        for line in [*lines, b".\r\n"]:
            one.tls.write(line)
        records = one._outgoing.read()
        for place in range(0, len(records), pieces):
            one.socket.sendall(records[place:place + pieces])
        one.reply(250)
    assert messages(backend) == [b"".join(lines)] * 3


@in_machine
def test_bare_line_ends_are_made_whole(backend, one):
    """Promise 5, threat 7."""
    for sent, _ in REPAIRED.values():
        send(one, sent)
    send(one, b"honest\n.\n" + SMUGGLED.replace(b"\r\n.\r\n", b"\r\n"))
    one.command("NOOP", 250)
    *repaired, smuggled = messages(backend)
    assert repaired == [arrives for _, arrives in REPAIRED.values()]
    assert b"forged" in smuggled
    assert backend.session().verbs.count("MAIL") == len(REPAIRED) + 1


# ends

@in_machine
@pytest.mark.parametrize("end", ["close_notify", "end_sending", "reset"])
def test_half_message_is_never_ended(backend, one, end):
    begin_message(one)
    one.send(b"half\r\n")
    getattr(one, end)()
    assert ends_without_a_message(backend)
    assert b"half" in backend.session().received


@in_machine
def test_client_that_leaves_with_close_notify_is_told_so_too(postern, backend, one):
    """With its last command in the same packet."""
    one.tls.write(b"NOOP\r\n")
    with pytest.raises(ssl.SSLWantReadError):
        one.tls.unwrap()
    one._send_records()
    one.reply(250)
    one.expect_closed()
    one.tls.unwrap()  # fails without the other side's
    assert postern.session_record(one)["end"] == "client closed"


@in_machine
@pytest.mark.parametrize("before", [b"", b"and more\r\n"])
def test_broken_record_end_the_session(postern, backend, one, before):
    """With an alert, and not the message; also right behind what was good."""
    begin_message(one)
    one.send(b"half\r\n")
    if before:
        one.tls.write(before)
    good = one._outgoing.read()
    one.tls.write(b"broken\r\n.\r\n")
    broken = bytearray(one._outgoing.read())
    broken[-1] ^= 1
    one.socket.sendall(good + broken)
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        one.receive_rest()
    assert ends_without_a_message(backend)
    assert postern.session_record(one)["end"]


@in_machine
@pytest.mark.parametrize("head, alert", [
    (b"\x17\x03\x03\x48\x01", "RECORD_OVERFLOW"),
    (b"\x17\x03\x03\x00\x05", "BAD_RECORD_MAC|DECODE_ERROR"),
    (b"\x17\x02\x07\x00\x40", "PROTOCOL_VERSION|DECODE_ERROR|BAD_RECORD_MAC"),
    (b"MAIL FROM:<x@y.test>\r\n", "ALERT")], ids=["long", "short", "old", "plaintext"])
def test_what_is_no_record_end_the_session(postern, backend, one, head, alert):
    """Though the client does not close."""
    begin_message(one)
    one.socket.sendall(head + bytes(64))
    with pytest.raises(ssl.SSLError, match=alert):
        one.receive_rest()
    assert ends_without_a_message(backend)
    assert postern.session_record(one)["end"]


# what it costs

def is_asleep(pid):
    """So long that it waits for something, looked at many times; what it has worked meanwhile."""
    asleep = collections.deque(maxlen=40)

    def look():
        asleep.append((processes.stat(pid)[1], processes.ticks(pid)))
        return len(asleep) == 40 and set(asleep) == {asleep[0]} and asleep[0][0] == "S"
    return wait.until(look, "a process that waits")


@in_machine
def test_half_a_record_keeps_nobody_busy(postern, backend, one):
    """Behind a whole one, as it comes in every large message; and all of it arrives."""
    reactor = postern.sole("reactor")
    begin_message(one)
    one.tls.write(b"first\r\n")
    one.tls.write(b"x" * 16_000 + b"\r\n.\r\n")
    records = one._outgoing.read()
    for piece in records[:9000], records[9000:-1]:
        one.socket.sendall(piece)
        is_asleep(reactor)
    one.socket.sendall(records[-1:])
    one.reply(250)
    assert messages(backend) == [b"first\r\n" + b"x" * 16_000 + b"\r\n"]


@pytest.fixture
def small_sockets():
    """That hold no more than some hundred kilobytes."""
    limits = [pathlib.Path("/proc/sys/net/ipv4", name) for name in ("tcp_rmem", "tcp_wmem")]
    before = [limit.read_text() for limit in limits]
    for limit in limits:
        limit.write_text("4096 65536 262144")
    yield
    for limit, text in zip(limits, before):
        limit.write_text(text)


@in_machine
@pytest.mark.usefixtures("small_sockets")
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_backend_that_reads_nothing_for_a_while_gets_all_of_it(start, backend, version):
    """Promise 9: meanwhile the client waits, and nothing is piled up."""
    postern = start(backend, tls={"kernel": True}, environment=LEAN)
    reactor = postern.sole("reactor")
    release = threading.Event()
    message = big(4_000_000)
    with postern.log_in(tls_context=versions(version)) as one:
        backend.on("begin", lambda connection, _: connection.hold(release))
        begin_message(one)
        before = processes.resident_bytes(reactor)
        sender = threading.Thread(target=one.send, args=(message + b".\r\n",))
        sender.start()
        is_asleep(reactor)
        assert sender.is_alive()
        assert processes.resident_bytes(reactor) - before < 1_500_000
        release.set()
        one.reply(250)
        sender.join(wait.PATIENCE)
        one.quit()
    assert messages(backend) == [message]


@in_machine
@pytest.mark.usefixtures("small_sockets")
@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_client_that_reads_nothing_for_a_while_gets_all_of_it(start, backend, version):
    """The kernel takes a part of what is written, and the rest later."""
    postern = start(backend, tls={"kernel": True})
    times = 5_000
    with Client(postern.implicit, tls=True, tls_context=versions(version),
                receive_buffer=4096) as one:
        one.greeting()
        one.send(b"EHLO client.example\r\n" * times)
        is_asleep(postern.sole("reactor"))
        (reply,) = {str(one.reply(250)) for _ in range(times)}
        assert len(reply) * times > 500_000, "fits into the sockets"
        one.quit()
        assert one.ended_by_notify


# keys

#: openssl's client takes lines that begin with some letters for orders.
HARMLESS = (b"x" * 98 + b"\r\n") * 12_000


class Changing:
    """openssl's client, which changes its key when it reads a line with K."""

    def __init__(self, postern, *options):
        host, port = postern.implicit
        self.said = b""
        self._process = subprocess.Popen(
            ["openssl", "s_client", "-tls1_3", "-connect", f"{host}:{port}", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self._timer = threading.Timer(wait.PATIENCE * 2, self._process.kill)
        self._timer.start()
        self.hear(b"220 ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._timer.cancel()
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def say(self, data, answer):
        """What it reads at once goes into one record. Returns what has come up to the answer."""
        view = memoryview(data)
        while view:
            view = view[self._process.stdin.write(view):]
        return self.hear(answer)

    def hear(self, what):
        self.said = b""
        while what not in self.said:
            piece = self._process.stdout.read(4096)
            assert piece, f"ended, after {self.said!r}"
            self.said += piece

    def rest(self):
        return self._process.stdout.read()

    def change_key(self, order=b"k"):
        """Its own; with K it asks for another of ours, too."""
        self.say(order + b"\n", b"KEYUPDATE")

    def log_in(self):
        self.say(b"EHLO client.example\r\n", b"250 ")
        self.say(f"AUTH PLAIN {plain_response('alice', 'wonderland')}\r\n".encode(), b"235 ")

    def begin_message(self):
        for command, answer in ((b"MAIL FROM:<a@b.test>", b"250 "),
                                (b"rcpt to:<c@d.test>", b"250 "), (b"DATA", b"354 ")):
            self.say(command + b"\r\n", answer)

    def send(self, message):
        self.begin_message()
        self.say(message + b".\r\n", b"250 ")


@in_machine
def test_client_may_change_its_own_key(postern, backend):
    """Which OpenSSL uses, not the kernel."""
    with Changing(postern) as one:
        one.log_in()
        one.change_key()
        one.change_key()
        one.send(HARMLESS)
        one.change_key()
        one.send(b"more\r\n")
    assert messages(backend) == [HARMLESS, b"more\r\n"]


@in_machine
def test_key_that_the_kernel_cannot_change_ends_the_session(postern, backend):
    """What was acknowledged has arrived, and what was not is not ended."""
    with Changing(postern) as one:
        one.log_in()
        one.send(HARMLESS)
        one.send(b"more\r\n")
        one.begin_message()
        one.say(b"half\r\n", b"")
        backend.wait(lambda: b"half" in backend.session().received, "half a message")
        one.change_key(b"K")
        one.rest()
    session = backend.session()
    backend.wait(lambda: session.ended, "the end of the backend's session")
    assert messages(backend) == [HARMLESS, b"more\r\n"]
    postern.wait_for_record(event="session ended", end="the kernel cannot change a TLS key")


@in_machine
def test_padding_of_records_is_taken_off(postern, backend):
    with Changing(postern, "-record_padding", "512") as one:
        one.log_in()
        one.send(HARMLESS)
        one.send(b"more\r\n")
    assert messages(backend) == [HARMLESS, b"more\r\n"]


# A kernel without it

@pytest.fixture
def plain_backend():
    with contextlib.closing(Backend()) as made:
        yield made


def test_start_warns_where_the_kernel_has_no_tls_and_mail_passes(start, plain_backend):
    """It is not asked to load it: that is the postmaster's to do."""
    layers = pathlib.Path("/proc/sys/net/ipv4/tcp_available_ulp")
    if layers.exists() and "tls" in layers.read_text().split():
        pytest.skip("this kernel has TLS")
    postern = start(plain_backend, tls={"kernel": True})
    (warning,) = postern.find_records(level="warning", msg=re.compile("tls: kernel: "))
    assert str(postern.configuration_path) in warning["msg"]
    with postern.log_in() as one:
        send(one, LARGE)
        send(one, b"more\r\n")
        one.quit()
    assert messages(plain_backend) == [LARGE, b"more\r\n"]
    postern.session_record(one)
    assert control.metrics(postern)["postern_tls_kernel_sessions_total"] == 0
