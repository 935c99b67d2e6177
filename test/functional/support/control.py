"""The administration interface of a running Postern, spoken to over its unix socket."""

import http.client
import json
import os
import pathlib
import re
import socket
import subprocess

from support import postern as posterns, wait


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("postern", timeout=wait.PATIENCE)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def path_of(postern):
    return postern.directory / "control"


def request(postern, target, method="GET", headers=None, address=None):
    """(status, text, headers); `address` is a TCP address to use instead."""
    connection = http.client.HTTPConnection(*address, timeout=wait.PATIENCE) if address else \
        _UnixConnection(path_of(postern))
    try:
        connection.request(method, target, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), reply.headers
    finally:
        connection.close()


def get(postern, target, **options):
    """The object that a request that must succeed is answered with."""
    status, text, _ = request(postern, target, **options)
    assert status == 200, text
    return json.loads(text)


def post(postern, target):
    return get(postern, target, method="POST")


def raw(postern, data):
    """All that comes back to these bytes until the connection ends."""
    with socket.socket(socket.AF_UNIX) as made:
        made.settimeout(wait.PATIENCE)
        made.connect(str(path_of(postern)))
        made.sendall(data)
        made.shutdown(socket.SHUT_WR)
        received = b""
        while piece := made.recv(65536):
            received += piece
        return received


def posternctl(postern, *arguments):
    """What the program says, which must succeed."""
    program = os.environ.get("POSTERNCTL_BINARY") or pathlib.Path(posterns.BINARY).parent / "posternctl"
    return subprocess.run([program, "--socket", path_of(postern), *arguments],
                          env={**os.environ, **posterns.SANITIZERS}, capture_output=True,
                          text=True, check=True, timeout=wait.PATIENCE).stdout


_SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{((?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$')


def metrics(postern, **options):
    """{'name{labels}': value}; a line that is no sample fails."""
    status, text, _ = request(postern, "/metrics", **options)
    assert status == 200, text
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        assert (match := _SAMPLE.match(line)), line
        key = match[1] + (f"{{{match[2]}}}" if match[2] else "")
        assert key not in samples, key
        samples[key] = float(match[3])
    return samples
