"""A client in TLS 1.3 that seals its records itself (RFC 8446 section 5.2), after a handshake of
Python's: it can send what no library would. The server must take TLS_AES_128_GCM_SHA256."""

import ctypes
import hashlib
import hmac
import pathlib
import re
import tempfile

from support.client import Client, context

ALERT, HANDSHAKE, DATA = 21, 22, 23
KEY_UPDATE = bytes([24, 0, 0, 1])
_TAG = 16
_GET_TAG = 0x10  # EVP_CTRL_AEAD_GET_TAG

_crypto = ctypes.CDLL("libcrypto.so.3")
for _name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm"):
    getattr(_crypto, _name).restype = ctypes.c_void_p


def _expand(secret, label, size):
    """HKDF-Expand-Label with an empty context (section 7.1)."""
    label = b"tls13 " + label
    text = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1"
    return hmac.new(secret, text, hashlib.sha256).digest()[:size]


def _seal(key, nonce, content, header):
    cipher = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    out, tag, length = (ctypes.create_string_buffer(len(content) + 16),
                        ctypes.create_string_buffer(_TAG), ctypes.c_int())
    done = ctypes.byref(length)
    try:
        assert _crypto.EVP_EncryptInit_ex(cipher, ctypes.c_void_p(_crypto.EVP_aes_128_gcm()), None,
                                          key, nonce) == 1
        assert _crypto.EVP_EncryptUpdate(cipher, None, done, header, len(header)) == 1
        assert _crypto.EVP_EncryptUpdate(cipher, out, done, content, len(content)) == 1
        assert _crypto.EVP_EncryptFinal_ex(cipher, tag, done) == 1
        assert _crypto.EVP_CIPHER_CTX_ctrl(cipher, _GET_TAG, _TAG, tag) == 1
    finally:
        _crypto.EVP_CIPHER_CTX_free(cipher)
    return out.raw[:len(content)] + tag.raw


class OwnRecords(Client):
    """Reads through Python's TLS object, and writes around it."""

    def __init__(self, address, **options):
        with tempfile.TemporaryDirectory() as directory:
            log = pathlib.Path(directory, "keys")
            super().__init__(address, tls=True,
                             tls_context=context(keylog_filename=str(log)), **options)
            secret = re.search(r"^CLIENT_TRAFFIC_SECRET_0 \S+ (\S+)$", log.read_text(),
                               re.MULTILINE)[1]
        assert self.tls.cipher()[0] == "TLS_AES_128_GCM_SHA256"
        self._use(bytes.fromhex(secret))

    def _use(self, secret):
        self._secret, self._number = secret, 0
        self._key, self._iv = _expand(secret, b"key", 16), _expand(secret, b"iv", 12)

    def next_key(self):
        """Sends under the next key from now on."""
        self._use(_expand(self._secret, b"traffic upd", 32))

    def sealed(self, kind, content, padding=0):
        """One record."""
        inner = content + bytes([kind]) + bytes(padding)
        header = bytes([DATA, 3, 3]) + (len(inner) + _TAG).to_bytes(2, "big")
        nonce = bytes(a ^ b for a, b in zip(self._iv, self._number.to_bytes(12, "big")))
        self._number += 1
        return header + _seal(self._key, nonce, inner, header)

    def send_record(self, kind, content, padding=0):
        self.socket.sendall(self.sealed(kind, content, padding))

    def send(self, data):
        self.send_record(DATA, data.encode() if isinstance(data, str) else data)
