"""A name server on a loopback port that answers what the test has put into it, or nothing."""

import socket
import struct
import threading

PTR, A, SRV, MX = 12, 1, 33, 15

#: Asked now and then to see that there is a server; the answer is not used.
IS_THERE = "1.0.0.127.in-addr.arpa"


def _encode(name):
    labels = name if isinstance(name, (list, tuple)) else name.rstrip(".").split(".")
    encoded = [each if isinstance(each, bytes) else each.encode() for each in labels]
    return b"".join(bytes([len(each)]) + each for each in encoded) + b"\0"


def _question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels).lower(), struct.unpack("!H", query[at + 1:at + 3])[0], query[12:at + 5]


class NameServer:
    def __init__(self, address=("127.0.0.1", 0)):
        self.names = {}      # address: name, a text or a list of labels
        self.addresses = {}  # name: address
        self.any_address = None  # of names that are not in addresses
        self.services = {}   # "_service._tcp.domain": (port, target)
        self.exchangers = {}  # domain: the name of its mail server
        self.silent = False
        self.silent_zones = ()  # beginnings of addresses: "127.0.1."
        self.asked = []      # (name, type)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            name, kind, question = _question(query)
            if name != IS_THERE:
                self.asked.append((name, kind))
            if not self.silent and not self._is_silent(name):
                self._socket.sendto(self._answer(query, name, kind, question), client)

    def _is_silent(self, name):
        address = ".".join(reversed(name.split(".")[:4]))
        return name.endswith(".in-addr.arpa") and address.startswith(tuple(self.silent_zones))

    def _answer(self, query, name, kind, question):
        data = None
        if kind == PTR and name.endswith(".in-addr.arpa"):
            found = self.names.get(".".join(reversed(name.split(".")[:4])))
            data = found and _encode(found)
        elif kind == A:
            found = self.addresses.get(name, self.any_address)
            data = found and socket.inet_aton(found)
        elif kind == SRV and name in self.services:
            port, target = self.services[name]
            data = struct.pack("!HHH", 0, 1, port) + _encode(target)
        elif kind == MX and name in self.exchangers:
            data = struct.pack("!H", 10) + _encode(self.exchangers[name])
        known = data or name in self.addresses or name in self.exchangers
        head = query[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, bool(data), 0, 0)
        if not data:
            return head + question
        return head + question + b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
