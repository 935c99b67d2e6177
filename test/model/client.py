"""The client of the model: does the steps of a script and keeps what was said on both ways."""

import asyncio
import socket
import ssl

from conversation import Conversation
from replies import ReplyReader
from wire import Stream, client_context

#: Seconds that anything may take; only a fault uses them up. Longer than Postern's own time for
#: a backend's reply (world.py).
PATIENCE = 75
_CONTEXTS = {"1.2": client_context(ssl.TLSVersion.TLSv1_2),
             "1.3": client_context(ssl.TLSVersion.TLSv1_3)}


class Lost(Exception):
    """The session ended before its script began."""


class Client:
    def __init__(self, script):
        self.script = script
        self.conversation = Conversation()
        self.reader = ReplyReader()
        self.address = None
        self.findings = []
        self.ended = None         # how the server ended the connection
        self.finished = False     # the client itself ended the session: nothing need be answered
        self.left = False         # … so that replies may be lost: a reset or a close
        self.broken = False       # the server took no more
        self.steps_done = 0
        self.late = []            # messages and chunks that were not answered at their gate
        self._passed = []         # the messages and chunks at the backend whose gate was passed
        self.backend = lambda: None  # gives the backend of this session (campaign.py)
        self._stream = self._reading = None
        self._changed = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()

    # the connection

    async def connect(self, registered):
        """Connects, up to TLS. `registered` is called once the own address is known."""
        made = socket.socket()
        made.setblocking(False)
        made.bind((self.script.source, 0))
        self.address = made.getsockname()
        registered()
        self._stream = Stream(made)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", self.script.door.port))
        context = _CONTEXTS.get(self.script.tls)
        if self.script.door.tls == "implicit":
            await self._stream.secure(context)
            await self._plain_reply(220)
            return
        await self._plain_reply(220)
        if context:
            await self._stream.send(b"EHLO plain.example\r\n")
            await self._plain_reply(250)
            await self._stream.send(b"STARTTLS\r\n")
            await self._plain_reply(220)
            await self._stream.secure(context)

    async def _plain_reply(self, code):
        """A reply before the script begins."""
        reader = ReplyReader()
        while True:
            data = await self._stream.receive()
            replies = reader.feed(data)
            if not data or reader.fault or (replies and replies[0].code != code):
                raise Lost(f"{code} was expected, got {replies or reader.fault or 'the end'}")
            if replies:
                return

    async def _read(self):
        try:
            while True:
                await self._may_read.wait()
                data = await self._stream.receive()
                if not data:
                    self.ended = "closed"
                    break
                for reply in self.reader.feed(data):
                    self.conversation.feed_reply(reply)
                self._changed.set()
        except (OSError, ssl.SSLError) as error:
            self.ended = type(error).__name__
        finally:
            self._changed.set()

    def wake(self):
        """Something has changed outside of the connection."""
        self._changed.set()

    async def _until(self, condition, patience=PATIENCE):
        """Waits for the condition or the end of the connection; False: neither came in time."""
        try:
            async with asyncio.timeout(patience):
                while not condition() and not self.ended:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # the script

    async def run(self):
        """All steps, and then to the end of the connection."""
        self._reading = asyncio.ensure_future(self._read())
        try:
            for step in self.script.steps:
                if self.ended or self.broken:
                    break
                await getattr(self, "_" + step[0])(*step[1:])
                self.steps_done += 1
            if not self.left and not await self._until(lambda: False):
                self.findings.append("the session does not end")
        finally:
            await self._stop_reading()
            self._stream.close()

    def close(self):
        """However far it has come."""
        if self._stream:
            self._stream.close()

    async def _stop_reading(self):
        """The event loop must have let go of a socket before it is closed."""
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await asyncio.sleep(0)

    async def _send(self, data, cuts):
        start = 0
        for offset, pause in (*cuts, (len(data), None)):
            piece = data[start:offset]
            start = offset
            self.conversation.feed_sent(piece)
            try:
                await self._stream.send(piece, self.script.torn)
            except (OSError, ssl.SSLError):
                self.broken = True
                return
            if pause is not None:
                await asyncio.sleep(pause / 1000)

    async def _message(self, data, cuts):
        if self.conversation.in_message:
            await self._send(data, cuts)

    async def _sync(self):
        if not await self._until(lambda: self.conversation.outstanding == 0):
            self.findings.append("commands were never answered")
            self.broken = True

    async def _gate(self):
        exchange = self.conversation.open_exchange

        def may_go_on():
            is_answered = self.reader.partial and self.conversation.next_answered is exchange
            return exchange.reply or is_answered or self._open_gate()

        if exchange and not await self._until(may_go_on):
            self.late.append(exchange)
        elif exchange:
            self._passed.append(self._open_gate())

    def _open_gate(self):
        """The message or chunk at whose gate the backend lets the client go on; None: there is
        none but those that have been passed, whose rest is perhaps still on its way."""
        backend = self.backend()
        seen = backend.seen[-1] if backend and backend.seen else None
        return seen if seen and seen.gate_open and seen not in self._passed else None

    async def _pause(self, milliseconds):
        await asyncio.sleep(milliseconds / 1000)

    async def _deaf(self, milliseconds):
        self._may_read.clear()
        asyncio.get_running_loop().call_later(milliseconds / 1000, self._may_read.set)

    async def _end(self, how):
        if how == "quit":
            return
        self.finished = True
        if how == "fin":
            self._stream.end_sending()
            return
        self.left = True
        await self._stop_reading()
        if how == "reset":
            self._stream.reset()
        else:
            self._stream.close()
