"""What a backend hears by each way of telling it, and that nothing of it is the client's to say."""

import ipaddress
import re
import struct

import pytest



def take_v1(connection, _):
    connection.header = connection._line()
    connection.say("220 fake.test ESMTP")


def take_v2(connection, _):
    while len(connection._buffer) < 16:
        connection._receive()
    length, = struct.unpack("!H", connection._buffer[14:16])
    while len(connection._buffer) < 16 + length:
        connection._receive()
    connection.header = connection._buffer[:16 + length]
    connection._buffer = connection._buffer[16 + length:]
    connection.say("220 fake.test ESMTP")


def read_v2(header):
    """(command, source, destination, {type: value})"""
    assert header[:12] == b"\r\n\r\n\0\r\nQUIT\n"
    command, family = header[12], header[13]
    rest = header[16:]
    if family == 0:
        return command, None, None, {}
    size = {0x11: 4, 0x21: 16}[family]
    source, destination = (str(ipaddress.ip_address(rest[at:at + size])) for at in (0, size))
    ports = struct.unpack("!HH", rest[2 * size:2 * size + 4])
    tlvs, at = {}, 2 * size + 4
    while at < len(rest):
        kind, length = struct.unpack("!BH", rest[at:at + 3])
        tlvs[kind] = rest[at + 3:at + 3 + length]
        at += 3 + length
    return command, (source, ports[0]), (destination, ports[1]), tlvs


def is_session(connection):
    return getattr(connection, "header", b"") and not connection.is_probe


def message_through(postern, **options):
    with postern.log_in(**options) as one:
        one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
        one.quit()
    return one


def test_proxy_v1_tells_the_address_before_everything_else(start, backend):
    backend.on("connect", take_v1)
    backend.attributes = None
    postern = start(backend, backend={"identity": "proxy-v1"})
    one = message_through(postern, source="127.0.0.33")
    session = backend.session()
    assert session.header == b"PROXY TCP4 127.0.0.33 127.0.0.1 %d %d" % (one.port,
                                                                        postern.implicit[1])
    assert session.commands[0] == b"EHLO client.example" and len(session.messages) == 1


def test_proxy_v2_tells_address_login_session_and_tls(start, backend):
    backend.on("connect", take_v2)
    backend.attributes = None
    postern = start(backend, backend={"identity": "proxy-v2"})
    one = message_through(postern, source="127.0.0.33")
    command, source, destination, tlvs = read_v2(backend.session().header)
    assert command == 0x21
    assert source == ("127.0.0.33", one.port) and destination == postern.implicit
    assert tlvs[0xe0] == b"alice"
    assert tlvs[0x05].decode() == postern.session_record(one)["id"]
    flags, verify = struct.unpack("!BI", tlvs[0x20][:5])
    assert flags == 1 and verify != 0
    assert b"TLSv1.3" in tlvs[0x20]


@pytest.mark.parametrize("version, take", [(1, take_v1), (2, take_v2)])
def test_probe_says_that_nobody_stands_behind_it(start, backend, version, take):
    backend.on("connect", take)
    start(backend, backend={"identity": f"proxy-v{version}"})
    probe = backend.wait(lambda: next((c for c in backend.connections if c.has_quit), None),
                         "no probe")
    if version == 1:
        assert probe.header == b"PROXY UNKNOWN"
    else:
        assert read_v2(probe.header)[0] == 0x20


def test_client_that_sends_a_header_of_its_own_gets_nowhere(start, backend):
    """Threat 4: PROXY from a client, before and after AUTH, in this way too."""
    backend.on("connect", take_v1)
    postern = start(backend, backend={"identity": "proxy-v1"})
    with postern.connect() as one:
        one.ehlo()
        one.command("PROXY TCP4 1.2.3.4 5.6.7.8 1 2", 550)
        one.login("alice", "wonderland")
        one.command("PROXY TCP4 1.2.3.4 5.6.7.8 1 2", 550)
        one.quit()
    assert b"1.2.3.4" not in backend.everything_received()


def test_without_identity_nothing_is_told_and_the_start_says_so(start, backend):
    postern = start(backend, backend={"identity": "none"})
    message_through(postern)
    assert backend.session().verbs == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    (warning,) = [r for r in postern.find_records(level="warning") if "none" in r.get("msg", "")]
    assert "takes every client for this host" in warning["msg"]


def test_auth_param_names_the_login_whatever_the_client_wrote(start, backend):
    """Threat 5: AUTH= is Postern's word, on each message."""
    backend.attributes = None
    postern = start(backend, backend={"identity": "auth-param"})
    with postern.log_in() as one:
        for line in ("MAIL FROM:<a@b.test> AUTH=<> SIZE=100", "MAIL FROM:<> AUTH=root@b.test"):
            one.command(line, 250)
            one.command("RSET", 250)
        one.quit()
    assert [c for c in backend.session().commands if c.startswith(b"MAIL")] == [
        b"MAIL FROM:<a@b.test> SIZE=100 AUTH=alice", b"MAIL FROM:<> AUTH=alice"]


@pytest.mark.parametrize("identity", ["auth-param", "trace", "none"])
def test_device_that_says_helo_is_named_like_others(start, backend, identity):
    """A parameter of MAIL is taken after EHLO only, by some servers: it is said for the device."""
    backend.attributes = None
    postern = start(backend, backend={"identity": identity})
    with postern.connect() as one:
        one.command("HELO camera", 250)
        one.login("alice", "wonderland")
        one.command("MAIL FROM:<a@b.test>", 250)
        one.quit()
    said = backend.session().commands
    assert said[-3:-1] == ([b"EHLO camera", b"MAIL FROM:<a@b.test> AUTH=alice"]
                           if identity == "auth-param" else
                           [b"HELO camera", b"MAIL FROM:<a@b.test>"])


TRACE = (rb"Received: from client\.example \(\[127\.0\.0\.33\]\)\r\n"
         rb"\s+by mail\.example\.org with ESMTPSA \(TLSv1\.3:TLS_AES_\w+:\d+\)\r\n"
         rb"\s+\(authenticated as alice\) id %s; \w{3}, \d+ \w{3} \d{4} [\d:]{8} \+0000\r\n")


def test_each_message_begins_with_who_handed_it_in(start, backend):
    backend.attributes = None
    postern = start(backend, backend={"identity": "trace"})
    with postern.log_in(source="127.0.0.33") as one:
        one.send_message("a@b.test", ["c@d.test"], b"Subject: one\r\n\r\n..\r\n")
        one.send_message("a@b.test", ["c@d.test"], b"")
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    first, second = backend.session().messages
    assert re.fullmatch(trace + rb"Subject: one\r\n\r\n\.\.\r\n\.\r\n", first)
    assert re.fullmatch(trace + rb"\r\n\.\r\n", second)


def test_trace_goes_into_the_first_chunk_of_each_message(start, backend):
    postern = start(backend, backend={"trace": True})
    with postern.log_in(source="127.0.0.33") as one:
        for sizes in ((5, 3), (0, 4), (4,)):
            one.envelope()
            for place, size in enumerate(sizes):
                last = " LAST" if place == len(sizes) - 1 else ""
                one.send(f"BDAT {size}{last}\r\n" + "x" * size)
                one.reply(250)
        one.envelope()
        one.send("BDAT 2\r\nab")
        one.reply(250)
        one.command("RSET", 250)
        one.envelope()
        one.send("BDAT 2 LAST\r\ncd")
        one.reply(250)
        one.send("MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nBDAT 0 LAST\r\n")
        for _ in range(3):
            one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    bodies = [trace + b"xxxxx", b"xxx", b"", trace + b"xxxx", trace + b"xxxx", trace + b"ab",
              trace + b"cd", trace]
    chunks = without_openings(backend.session().chunks)
    assert len(chunks) == len(bodies)
    for got, body in zip(chunks, bodies):
        assert re.fullmatch(body, got), got


def without_openings(chunks):
    """The client's chunks, each with the trace field that came ahead of it in one of its own."""
    joined, ahead = [], b""
    for size, last, chunk in chunks:
        assert size == len(chunk)
        ahead += chunk
        if last or not chunk.startswith(b"Received:"):
            joined.append(ahead)
            ahead = b""
    return joined


def test_refused_chunk_takes_no_trace_from_the_message_after_it(start, backend):
    """Sent at once: whether a chunk begins a message is known when the one before is answered."""
    backend.attributes = None
    postern = start(backend, backend={"identity": "trace"})
    forged = b"Received: from boss.example by mail.example.org (authenticated as boss)\r\n"
    with postern.log_in(source="127.0.0.33") as one:
        one.send(b"BDAT 2\r\nxx" b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n"
                 b"BDAT %d LAST\r\n%s" % (len(forged), forged))
        for code in (503, 250, 250, 250):
            one.reply(code)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (got,) = backend.session().chunked
    assert re.fullmatch(trace + re.escape(forged), got), got


CONTINUED = b" (authenticated as boss); Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nx\r\n"


#: Beginnings of a line that one server or another may take for a part of the field above it.
CONTINUATIONS = (b" ", b"\t", b".", b". ", b".\t", b"..", b":", b"\x7f", b"\xa0", b"\x0b", b"\x0c",
                 b"\x1b")


@pytest.mark.parametrize("start_", [*CONTINUATIONS, b".\0", b".\r", b"\0"])
def test_threat_33_nothing_that_may_be_a_continuation_follows_the_trace_field(start, backend, start_):
    """A dot is taken away by the server that reads the message, and then a blank begins it."""
    postern = start(backend, backend={"trace": True})
    with postern.log_in(source="127.0.0.33") as one:
        one.envelope()
        one.command("DATA", 354)
        for byte in start_:
            one.send(bytes([byte]))
        one.send(CONTINUED[1:] + b".\r\n")
        one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (message,) = backend.session().messages
    shown = start_.replace(b"\0", b" ").replace(b"\r", b" ")
    assert re.fullmatch(trace + rb"\r\n" + re.escape(shown + CONTINUED[1:] + b".\r\n"), message), message


@pytest.mark.parametrize("parameter,start_", [
    *((b"", each) for each in CONTINUATIONS), *((b" BODY=BINARYMIME", each) for each in CONTINUATIONS),
    *((b" BODY=BINARYMIME", each) for each in (b"\0", b"\r", b"\n"))])
def test_threat_33_no_chunk_continues_the_trace_field(start, backend, parameter, start_):
    backend.extensions += ("BINARYMIME",)
    postern = start(backend, backend={"trace": True})
    chunk = start_ + CONTINUED[1:]
    with postern.log_in(source="127.0.0.33") as one:
        one.command(b"MAIL FROM:<a@b.test>" + parameter, 250)
        one.command("RCPT TO:<c@d.test>", 250)
        one.send(b"BDAT %d LAST\r\n" % len(chunk) + chunk)
        one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (got,) = backend.session().chunked
    assert re.fullmatch(trace + rb"\r\n" + re.escape(chunk), got), got


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
def test_message_without_a_header_gets_no_second_empty_line(start, backend, way):
    postern = start(backend, backend={"trace": True})
    with postern.log_in(source="127.0.0.33") as one:
        one.envelope()
        if way == "DATA":
            one.command("DATA", 354)
            one.send(b"\r\ntext\r\n.\r\n")
        else:
            one.send(b"BDAT 8 LAST\r\n\r\ntext\r\n")
        one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (message,) = backend.session().messages or backend.session().chunked
    assert re.fullmatch(trace + rb"\r\ntext\r\n(\.\r\n)?", message), message


@pytest.mark.parametrize("blank", [b" ", b"\t", b"\0", b"\rx"])
def test_message_cannot_continue_the_trace_field(start, backend, blank):
    """A line that begins with a blank would be a part of the field above it."""
    postern = start(backend, backend={"trace": True})
    with postern.log_in(source="127.0.0.33") as one:
        one.send_message("a@b.test", ["c@d.test"], blank + CONTINUED)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (message,) = backend.session().messages
    assert re.match(trace + rb"\r\n[ \t]", message), message


def test_chunk_cannot_continue_the_trace_field(start, backend):
    postern = start(backend, backend={"trace": True})
    chunk = b" " + CONTINUED
    with postern.log_in(source="127.0.0.33") as one:
        one.envelope()
        one.send("BDAT 0\r\n")
        one.reply(250)
        one.send(b"BDAT %d LAST\r\n" % len(chunk))
        one.send(chunk)
        one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (got,) = backend.session().chunked
    assert re.fullmatch(trace + rb"\r\n" + re.escape(chunk), got), got


def test_empty_line_is_not_put_where_the_message_has_one(start, backend):
    postern = start(backend, backend={"trace": True})
    with postern.log_in(source="127.0.0.33") as one:
        one.send_message("a@b.test", ["c@d.test"], b"\r\nbody\r\n")
        one.envelope()
        one.send(b"BDAT 8 LAST\r\n\r\nbody\r\n")
        one.reply(250)
        one.quit()
    trace = TRACE % postern.session_record(one)["id"].encode()
    (message,), (chunked,) = backend.session().messages, backend.session().chunked
    assert re.fullmatch(trace + rb"\r\nbody\r\n\.\r\n", message), message
    assert re.fullmatch(trace + rb"\r\nbody\r\n", chunked), chunked


def test_login_is_left_out_of_the_trace_on_request(start, backend):
    postern = start(backend, backend={"trace": True, "hide_login": True})
    message_through(postern)
    (message,) = backend.session().messages
    assert message.startswith(b"Received:") and b"ESMTPSA" in message and b"alice" not in message


@pytest.mark.parametrize("name", ["a)b", "x;y", "[1.2.3.4]", "evil(comment", "\\\\x"])
def test_client_cannot_forge_a_field_by_its_name(start, backend, name):
    postern = start(backend, backend={"trace": True})
    with postern.connect() as one:
        one.ehlo(name)
        one.login("alice", "wonderland")
        one.send_message("a@b.test", ["c@d.test"], b"")
        one.quit()
    (message,) = backend.session().messages
    fields = re.findall(rb"^(\S+?):", message, re.MULTILINE)
    assert fields == [b"Received"] and b"(authenticated as alice)" in message
