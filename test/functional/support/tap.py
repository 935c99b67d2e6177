"""A tap on the wire: passes one connection on, and keeps what the server has sent."""

import contextlib
import select
import socket
import threading

from support import wait

HANDSHAKE, CHANGE_CIPHER_SPEC, ALERT, DATA = 22, 20, 21, 23
_SERVER_HELLO = 2
#: The random bytes of a ServerHello that asks for another ClientHello (RFC 8446 section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


class Tap:
    """One connection through `address` to a server."""

    def __init__(self, server):
        self.said = b""
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(wait.PATIENCE)
        self.address = self._listener.getsockname()
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()
        self._thread.join(wait.PATIENCE)

    def _pass_on(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client, socket.create_connection(self._server) as server, \
                contextlib.suppress(OSError):
            ends = {client: server, server: client}
            while ends:
                for source in self._readable(ends):
                    data = source.recv(65536)
                    if source is server:
                        self.said += data
                    if data:
                        ends[source].sendall(data)
                    else:
                        ends.pop(source).shutdown(socket.SHUT_WR)

    @staticmethod
    def _readable(ends):
        found = select.select(list(ends), [], [], wait.PATIENCE)[0]
        if not found:
            raise OSError("both are silent")
        return found

    def tls(self):
        """What the server has said since its first TLS record."""
        start = self.said.find(b"\x16\x03")
        return self.said[start:] if start >= 0 else b""


def records(data):
    """(type, content) of each whole TLS record."""
    found = []
    while len(data) >= 5:
        length = int.from_bytes(data[3:5], "big")
        assert data[1] == 3 and data[0] in (HANDSHAKE, CHANGE_CIPHER_SPEC, ALERT, DATA), data[:64]
        found.append((data[0], data[5:5 + length]))
        data = data[5 + length:]
    return found


def before_keys(data):
    """The server's records before it has keys: those up to its real ServerHello."""
    found = []
    for kind, content in records(data):
        found.append((kind, content))
        if kind == HANDSHAKE and content[0] == _SERVER_HELLO and not is_retry(content):
            break
    return found


def is_retry(content):
    """Is it a HelloRetryRequest?"""
    return content[:1] == bytes([_SERVER_HELLO]) and content[6:38] == _RETRY
