"""A client in TLS 1.3 that asks for new keys (RFC 8446 section 4.6.3), and need not read what it
gets: OpenSSL's own binding, as Python's has no way to ask."""

import ctypes
import select
import socket

from support import wait
from support.client import SOURCE

_ssl, _crypto = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3")
for _name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
    getattr(_ssl, _name).restype = ctypes.c_void_p
for _name in ("BIO_new", "BIO_s_mem"):
    getattr(_crypto, _name).restype = ctypes.c_void_p

_REQUESTED = 1
_AT_ONCE = 8    # in a row; a server may not take many that are followed by nothing
_PATIENCE = 1   # so long does a server take nothing until that is what it wants


class KeyUpdates:
    """Behind the handshake, and the server's buffer for it is small."""

    def __init__(self, address):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.socket.bind((SOURCE, 0))
        self.socket.settimeout(wait.PATIENCE)
        self.socket.connect(address)
        self.port = self.socket.getsockname()[1]
        self._settings = ctypes.c_void_p(_ssl.SSL_CTX_new(ctypes.c_void_p(
            _ssl.TLS_client_method())))
        self._tls = ctypes.c_void_p(_ssl.SSL_new(self._settings))
        self._incoming, self._outgoing = (
            ctypes.c_void_p(_crypto.BIO_new(ctypes.c_void_p(_crypto.BIO_s_mem())))
            for _ in range(2))
        _ssl.SSL_set_bio(self._tls, self._incoming, self._outgoing)
        self._unsent, self._lines = b"", b""
        while _ssl.SSL_connect(self._tls) != 1:
            self._push()
            self._pull()
        self._push()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        if self._tls:
            _ssl.SSL_free(self._tls)
            _ssl.SSL_CTX_free(self._settings)
        self._tls = None

    def _gather(self):
        room = ctypes.create_string_buffer(65536)
        while (got := _crypto.BIO_read(self._outgoing, room, len(room))) > 0:
            self._unsent += room.raw[:got]

    def _push(self):
        self._gather()
        self.socket.sendall(self._unsent)
        self._unsent = b""

    def _pull(self):
        received = self.socket.recv(65536)
        assert received, "closed"
        _crypto.BIO_write(self._incoming, received, len(received))

    def _write(self, data):
        assert _ssl.SSL_write(self._tls, data, len(data)) == len(data)

    def _read(self):
        """What has come by now."""
        room = ctypes.create_string_buffer(65536)
        while (got := _ssl.SSL_read(self._tls, room, len(room))) > 0:
            self._lines += room.raw[:got]

    def send(self, line):
        self._write(line.encode() + b"\r\n")
        self._push()

    def line(self):
        """The server's next one."""
        self._read()
        while b"\n" not in self._lines:
            self._pull()
            self._read()
        line, _, self._lines = self._lines.partition(b"\n")
        return line.rstrip(b"\r").decode()

    def _ask(self):
        for _ in range(_AT_ONCE):
            _ssl.SSL_key_update(self._tls, _REQUESTED)
            _ssl.SSL_do_handshake(self._tls)
        self._write(b"N")
        self._gather()

    def _can_send(self, timeout):
        return bool(select.select([], [self.socket], [], timeout)[1])

    def flood(self):
        """Asks and asks, with a letter now and then, until the server takes no more."""
        while self._can_send(_PATIENCE):
            if not self._unsent:
                self._ask()
            sent = self.socket.send(self._unsent, socket.MSG_DONTWAIT)
            self._unsent = self._unsent[sent:]

    def read_until_heard(self):
        """Reads what the flood has brought, until the server takes again what it did not."""
        while self._unsent or not self._can_send(0):
            if self._can_send(0):
                sent = self.socket.send(self._unsent, socket.MSG_DONTWAIT)
                self._unsent = self._unsent[sent:]
            elif select.select([self.socket], [], [], wait.PATIENCE)[0]:
                self._pull()
                self._read()
            else:
                raise wait.Lost("the server takes nothing, and says nothing")
