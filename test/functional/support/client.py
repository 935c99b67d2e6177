"""A raw SMTP client: sends exactly the bytes that it is told to, and reads replies strictly.

TLS goes through memory, so that a test decides what leaves in which packet and how a
connection ends.
"""

import base64
import collections
import re
import socket
import ssl
import struct

from support import wait

Reply = collections.namedtuple("Reply", "code lines")
Reply.text = property(lambda self: "\n".join(self.lines))
Reply.status = property(lambda self: (re.match(r"[245]\.\d{1,3}\.\d{1,3}(?= |$)", self.lines[0])
                                      or [None])[0])

#: Whose client it is unless a test says otherwise: not 127.0.0.1, so that it can be told from
#: Postern's own address.
SOURCE = "127.0.0.9"


class Closed(AssertionError):
    """The server closed where a reply was expected."""


def context(**options):
    """A client's TLS settings, which trusts anybody. Options are attributes of SSLContext."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(made, name, value)
    return made


def plain_response(user, password, authzid=""):
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def _connected(address, source, receive_buffer, timeout):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.settimeout(timeout)
    if receive_buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source and family == socket.AF_INET:
        made.bind((source, 0))
    made.connect(address)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


class Client:
    """`address` is (host, port), or a socket that is connected."""

    def __init__(self, address, tls=False, source=SOURCE, tls_context=None, session=None,
                 timeout=wait.PATIENCE, receive_buffer=None):
        self.socket = address if isinstance(address, socket.socket) else \
            _connected(address, source, receive_buffer, timeout)
        self.socket.settimeout(timeout)
        self.port = self.socket.getsockname()[1] if self.socket.family != socket.AF_UNIX else None
        self.tls = None
        self.ended_by_notify = False  # the server has sent close_notify
        self._input = b""
        if tls:
            self.handshake(tls_context, session)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # TLS

    def handshake(self, tls_context=None, session=None, before=b""):
        """What is left unread of the plaintext stays there for the test to find; `before` goes in
        one packet with TLS's first."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._outgoing.write(before)
        self.tls = (tls_context or context()).wrap_bio(
            self._incoming, self._outgoing, server_hostname="mail.example.org", session=session)
        self._drive(self.tls.do_handshake)

    def _drive(self, step, *arguments):
        """Repeats an operation of the TLS object until it needs no more input."""
        while True:
            try:
                result = step(*arguments)
            except ssl.SSLWantReadError:
                self._send_records()
                self._receive_records()
                continue
            self._send_records()
            return result

    def _send_records(self):
        records = self._outgoing.read()
        if records:
            self.socket.sendall(records)

    def _receive_records(self):
        received = self.socket.recv(65536)
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    def starttls(self, tls_context=None, behind=b""):
        """STARTTLS; `behind` goes in the same packet."""
        self.send(b"STARTTLS\r\n" + behind)
        reply = self.reply(220)
        self.handshake(tls_context)
        return reply

    def session_ticket(self):
        """What resumes this session later; comes with the first data in TLS 1.3."""
        return self.tls.session

    # bytes

    def send(self, data):
        """Exactly these bytes, in as few packets as possible."""
        data = data.encode() if isinstance(data, str) else data
        if not self.tls:
            self.socket.sendall(data)
            return
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:16384]):]
            self._send_records()

    def receive(self):
        """Some bytes; b"" at the end."""
        if self.tls:
            try:
                data = self._drive(self.tls.read, 65536)
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""
            self.ended_by_notify |= not data
            return data
        return self.socket.recv(65536)

    def receive_rest(self):
        """All until the server closes. A reset counts as the end."""
        rest, self._input = self._input, b""
        try:
            while True:
                more = self.receive()
                if not more:
                    return rest
                rest += more
        except ConnectionResetError:
            return rest

    def expect_closed(self):
        """The server closes, and says nothing more before."""
        rest = self.receive_rest()
        assert rest == b"", f"said {rest!r} where it had to close"

    def line(self):
        while b"\n" not in self._input:
            more = self.receive()
            if not more:
                raise Closed(f"closed, after {self._input!r}")
            self._input += more
        line, _, self._input = self._input.partition(b"\n")
        assert line.endswith(b"\r"), f"bare line feed: {line!r}"
        return line[:-1]

    def unread(self):
        """What has come and nobody asked for."""
        return self._input

    # SMTP

    def reply(self, *expected):
        """The next reply, which must be well formed, and have one of the codes, if any is given."""
        code, lines = None, []
        while True:
            line = self.line().decode("utf-8")
            match = re.fullmatch(r"([2-5]\d\d)(?:([ -])(.*))?", line)
            assert match, f"not a reply: {line!r}"
            assert code in (None, int(match[1])), f"another code in the middle: {line!r}"
            code = int(match[1])
            lines.append(match[3] or "")
            if match[2] != "-":
                break
        reply = Reply(code, lines)
        assert not expected or code in expected, f"expected {expected}, got {reply}"
        return reply

    def command(self, line, *expected):
        self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply(*expected)

    def greeting(self, *expected):
        return self.reply(*(expected or (220,)))

    def ehlo(self, name="client.example"):
        """The keywords of the reply, as {keyword: parameters}."""
        reply = self.command(f"EHLO {name}", 250)
        keywords = {}
        for line in reply.lines[1:]:
            keyword, _, parameters = line.partition(" ")
            assert keyword not in keywords, f"{keyword} twice"
            keywords[keyword] = parameters
        return keywords

    def login(self, user, password, *expected):
        """AUTH PLAIN with an initial response."""
        return self.command(f"AUTH PLAIN {plain_response(user, password)}", *(expected or (235,)))

    def envelope(self, sender="a@b.test", recipients=("c@d.test",)):
        self.command(f"MAIL FROM:<{sender}>", 250)
        for recipient in recipients:
            self.command(f"RCPT TO:<{recipient}>", 250)

    def send_message(self, sender, recipients, message, *expected):
        """`message` is dot-stuffed by the caller and ends with CRLF."""
        self.envelope(sender, recipients)
        self.command("DATA", 354)
        self.send(message + b".\r\n")
        return self.reply(*(expected or (250,)))

    # ends

    def quit(self):
        reply = self.command("QUIT", 221)
        self.expect_closed()
        return reply

    def close_notify(self):
        """TLS's own end of sending; the other direction stays open."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass
        self._send_records()

    def end_sending(self):
        """FIN, without close_notify."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self):
        self.socket.close()
