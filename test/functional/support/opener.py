"""The opener's process by itself, with a test in the reactor's place: `postern --opener …`."""

import array
import ipaddress
import os
import socket
import struct
import subprocess

from support import postern as posterns
from support import processes, wait

WAYS = {"none": 0, "unix": 1, "program": 2, "transparent": 3}


def _address(address):
    if address is None:
        return bytes(19)
    host = ipaddress.ip_address(address[0])
    return struct.pack("<BH", host.version, address[1]) + host.packed.ljust(16, b"\0")


def order(number, backend=0, login="", mechanism="", helo="", host="", client=None, local=None,
          tls="", flags=1):
    """The bytes of an order; its texts may be bytes."""
    texts = [each if isinstance(each, bytes) else each.encode()
             for each in (login, mechanism, helo, host, tls)]
    return (b"PO\1\1" + struct.pack("<QHB", number, backend, flags) + _address(client)
            + _address(local) + b"".join(bytes([len(text)]) + text for text in texts))


class Opener:
    """`backends` are (way, address or program's line), or dictionaries with more."""

    def __init__(self, *backends, user="nobody", log, command=(), limit=100,
                 relayclient="unset"):
        arguments = [posterns.BINARY, "--opener", user, "mail.example.org", "0", "1", "4"]
        for index, (way, what) in enumerate(backends):
            line = what if way == "program" else ""
            arguments += [f"b{index}", str(WAYS[way]), "127.0.0.1:25" if line else what, line,
                          "daemon" if os.geteuid() == 0 else "", relayclient, str(limit)]
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(wait.PATIENCE)
        self._log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                [*command, *arguments], stdin=other, stdout=subprocess.DEVNULL, stderr=output,
                env={**os.environ, **posterns.SANITIZERS})
        other.close()

    @property
    def pid(self):
        return self.process.pid

    def output(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def send(self, data, descriptors=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] \
            if descriptors else []
        self.socket.sendmsg([data], ancillary)

    def receive(self):
        """(number, errno, socket or None) of the next answer."""
        data, descriptors, flags, _ = socket.recv_fds(self.socket, 64, 4)
        assert data[:4] == b"PO\1\2" and len(data) == 14 and not flags & socket.MSG_CTRUNC, data
        number, error = struct.unpack("<QH", data[4:])
        assert len(descriptors) == (error == 0)
        opened = socket.socket(fileno=descriptors[0]) if descriptors else None
        if opened:
            opened.settimeout(wait.PATIENCE)
        return number, error, opened

    def ask(self, number=1, backend=0, **values):
        self.send(order(number, backend, **values))
        answered, error, opened = self.receive()
        assert answered == number
        return error, opened

    def close(self):
        """The reactor is gone: the opener ends by itself, with what it has started."""
        self.socket.close()
        try:
            status = self.process.wait(2 * wait.PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("does not end with its reactor:\n" + self.output()) from None
        assert status == 0, self.output()
        assert not processes.descendants(self.pid)
