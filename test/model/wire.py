"""A TCP connection of the model, plain or with TLS through memory, for one event loop.

The caller decides which bytes leave in which segment and how the connection ends. Used by both
sides: client.py and backend.py. One task may send while another one receives.
"""

import asyncio
import socket
import ssl
import struct

#: Bytes that are read at once.
READ_BYTES = 1 << 16
#: Plaintext of one TLS record at most.
RECORD_BYTES = 1 << 14


def server_context(certificate, key):
    """TLS settings of a backend."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def client_context(version=None):
    """TLS settings of a client that trusts every server; `version` is an ssl.TLSVersion."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if version:
        made.maximum_version = version
    return made


class Stream:
    """`connected` is a connected socket that does not block; the stream closes it."""

    def __init__(self, connected):
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._tls = self._incoming = self._outgoing = None
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def secure(self, context, server_side=False, already=b""):
        """The TLS handshake. `already` was received before it."""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._incoming.write(already)
        name = None if server_side else "mail.example.org"
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side,
                                     server_hostname=name)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._send_records()
                await self._receive_records()
        await self._send_records()

    @property
    def is_secure(self):
        return self._tls is not None

    async def _send_records(self, torn=False):
        records = self._outgoing.read()
        if torn and len(records) > 1:
            half = len(records) // 2
            await self._loop.sock_sendall(self._socket, records[:half])
            await asyncio.sleep(0.001)
            records = records[half:]
        if records:
            await self._loop.sock_sendall(self._socket, records)

    async def _receive_records(self):
        received = await self._loop.sock_recv(self._socket, READ_BYTES)
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    async def send(self, data, torn=False):
        """Sends the bytes in as few segments as possible; `torn` cuts TLS records in two."""
        if not self._tls:
            await self._loop.sock_sendall(self._socket, data)
            return
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[:RECORD_BYTES]):]
            await self._send_records(torn)

    async def receive(self):
        """Some bytes; b"" at the end. Raises OSError if the connection was reset."""
        if not self._tls:
            return await self._loop.sock_recv(self._socket, READ_BYTES)
        while True:
            try:
                return self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self._receive_records()
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b""

    def receive_now(self):
        """What has arrived already; b"" if there is nothing, or the end."""
        try:
            received = self._socket.recv(READ_BYTES)
        except OSError:
            received = b""
        if not self._tls:
            return received
        self._incoming.write(received)
        try:
            return self._tls.read(READ_BYTES)
        except ssl.SSLError:
            return b""

    def address(self):
        """The own end: (host, port)."""
        return self._socket.getsockname()[:2]

    def end_sending(self):
        """FIN; the other direction stays open."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """RST."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    def close(self):
        self._socket.close()
