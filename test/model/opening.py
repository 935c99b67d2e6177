"""A backend's connection up to the client's EHLO or HELO, which names the session.

Checks what each way of identity says about the client, and answers Postern's probes.
"""

import asyncio
import re
import struct

import plan as plans
from backend import Backend
from record import Gone
from replies import mark

_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_SESSION = re.compile(rb"(EHLO|HELO) [sm](\d+)(-\d+)?\.client\.example(\?b|\?\?)?\Z")
_ATTRIBUTES = b"XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
_KEYS = {b"ADDR": "address", b"PORT": "port", b"LOGIN": "login", b"HELO": "helo"}
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LOGIN_TLV = 0xe0


def _text(value):
    return _XTEXT.sub(lambda hexadecimal: bytes([int(hexadecimal[1], 16)]), value)


class Opening:
    """`find(number)` gives the record of a session (campaign.py) that is under way, or None."""

    def __init__(self, stream, door, peer, find, tls_context):
        self._stream, self._door, self._find = stream, door, find
        self._context = tls_context
        self._buffer = b""
        self._known = {}      # what Postern said of the client: address, port, login, helo
        if door.identity == "transparent":
            self._known["address"] = peer[0].encode()
        self._session = None

    async def run(self):
        """To the end of the connection."""
        try:
            async with asyncio.timeout(60):
                ready = await self._open()
        except (Gone, OSError, TimeoutError):
            ready = False
        if not ready:
            self._stream.close()
            if self._session and self._session.backend:
                self._session.backend.finished.set()
            return
        backend, buffer = self._session.backend, self._buffer
        await backend.serve(self._stream, buffer)

    async def _receive(self):
        data = await self._stream.receive()
        if not data:
            raise Gone("closed")
        self._buffer += data

    async def _take(self, count):
        while len(self._buffer) < count:
            await self._receive()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def _line(self):
        while b"\n" not in self._buffer:
            await self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    async def _say(self, text):
        await self._stream.send(text + b"\r\n")

    # before the greeting

    async def _read_proxy_header(self):
        if self._door.identity == "proxy-v1":
            words = (await self._line()).split(b" ")
            if words[1] == b"TCP4":
                self._known.update(address=words[2], port=int(words[4]))
            return
        head = await self._take(16)
        if head[:12] != _SIGNATURE:
            raise Gone("no PROXY header")
        body = await self._take(struct.unpack(">H", head[14:16])[0])
        if head[12] != 0x21:
            return
        self._known.update(address=b"%d.%d.%d.%d" % tuple(body[:4]),
                           port=struct.unpack(">H", body[8:10])[0])
        rest = body[12:]
        while len(rest) >= 3:
            kind, length = struct.unpack(">BH", rest[:3])
            if kind == _LOGIN_TLV:
                self._known["login"] = rest[3:3 + length]
            rest = rest[3 + length:]

    async def _open(self):
        """True: the client's hello has been answered with 250."""
        if self._door.identity in ("proxy-v1", "proxy-v2"):
            await self._read_proxy_header()
        if self._door.backend_tls == "implicit":
            await self._stream.secure(self._context, True, self._buffer)
            self._buffer = b""
        await self._say(b"220 model.test ESMTP")
        while True:
            line = await self._line()
            ready = await self._command(line)
            if ready is not None:
                return ready

    async def _command(self, line):
        """None: the opening goes on."""
        verb, _, arguments = line.partition(b" ")
        found = _SESSION.match(line)
        if found or line.startswith((b"EHLO [127.", b"HELO [127.")):
            return await self._hello(found, line)
        if verb == b"EHLO":
            await self._say(self._own_offer())
        elif verb == b"STARTTLS":
            await self._say(b"220 2.0.0 Go ahead")
            await self._stream.secure(self._context, True, self._buffer)
            self._buffer = b""
        elif verb == b"XCLIENT":
            return await self._take_xclient(arguments)
        elif verb == b"QUIT":
            await self._say(b"221 2.0.0 Bye")
            return False
        else:
            await self._say(b"500 5.5.2 What?")
        return None

    def _own_offer(self):
        keywords = [each.encode() for each in plans.OFFERED]
        if self._door.backend_tls == "starttls" and not self._stream.is_secure:
            keywords.append(b"STARTTLS")
        lines = [b"model.test", *keywords, _ATTRIBUTES]
        return b"\r\n".join(b"250%s%s" % (b" " if line is lines[-1] else b"-", line)
                            for line in lines)

    # who it is

    async def _take_xclient(self, arguments):
        self._known.pop("login", None)
        for word in arguments.split(b" "):
            name, _, value = word.partition(b"=")
            key = _KEYS.get(name)
            if key and value != b"[UNAVAILABLE]":
                self._known[key] = int(value) if key == "port" else _text(value)
        match = re.match(rb"[sm](\d+)[.-]", self._known.get("helo", b""))
        session = self._find(int(match[1])) if match else None
        if session and session.script.plan.opening and \
                session.script.plan.opening[0] == "XCLIENT":
            return await self._refuse(session, session.script.plan.opening[1])
        await self._say(b"220 model.test ESMTP")
        return None

    async def _refuse(self, session, code):
        """An opening that fails: with a reply, or with the end of the connection (code 0)."""
        if not session.backend:
            session.backend = Backend(session.script.number, session.script.plan,
                                      session.client.wake)
        session.backend.refused_opening = True
        if code:
            await self._say(b"%d 4.7.0 Not for you" % code)
            rest = await self._stream.receive()
            if rest and not rest.startswith((b"EHLO [127.", b"HELO [127.")):
                session.backend.findings.append(f"bytes after a refused opening: {rest[:80]!r}")
        session.backend.finished.set()
        return False

    async def _hello(self, found, line):
        session = self._find(int(found[2])) if found else self._session
        if not session:
            raise Gone("nobody's session")
        self._session = session
        plan = session.script.plan
        if plan.opening and plan.opening[0] == "hello":
            if plan.opening[1] == 501 and found:
                await self._say(b"501 5.5.4 Not such a name")
                return None
            if plan.opening[1] != 501:
                return await self._refuse(session, plan.opening[1])
        if session.backend and session.backend.seen:
            session.findings.append("a second connection to the backend")
        session.backend = backend = Backend(session.script.number, plan,
                                            session.client.wake)
        self._check_identity(session)
        is_ehlo = line.startswith(b"EHLO")
        backend.begin(is_ehlo)
        keywords = [each.encode() for each in (plan.keywords if is_ehlo else ())]
        lines = [b"model.test " + mark(session.script.number, 0), *keywords]
        await self._stream.send(b"".join(
            b"250%s%s\r\n" % (b" " if i + 1 == len(lines) else b"-", each)
            for i, each in enumerate(lines)))
        return True

    def _check_identity(self, session):
        """Whatever Postern said must be true, and what this way carries must have been said."""
        door, script = self._door, session.script
        truth = {"address": session.address[0].encode(), "port": session.address[1],
                 "login": script.login and script.login.encode()}
        if "helo" in self._known and not script.is_own_name(self._known.pop("helo")):
            session.findings.append("a wrong identity: the name of EHLO")
        for key, value in self._known.items():
            if value != truth[key]:
                session.findings.append(f"a wrong identity: {key} {value!r}, not {truth[key]!r}")
        needed = {"xclient": ("address", "login"), "proxy-v1": ("address",),
                  "proxy-v2": ("address", "login")}.get(door.identity, ())
        for key in needed:
            if truth[key] and key not in self._known:
                session.findings.append(f"no identity: the client's {key} is missing")
