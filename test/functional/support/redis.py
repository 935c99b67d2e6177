"""A real Redis: Debian's server, unpacked and not installed, with nothing kept on disk."""

import contextlib
import os
import pathlib
import socket
import subprocess
import threading

from support import package, processes, wait

#: With the libraries that Debian's server needs and not every machine has. The program is the
#: one that checks dumps; it knows by its name what it is to be.
PACKAGES = ("redis-tools", "libatomic1", "libjemalloc2", "liblzf1")


class Redis:
    """One running server on a port of loopback, which it gets again behind stop() and start()."""

    def __init__(self, directory, *arguments, port=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.port = port or wait.free_port()
        self.arguments = arguments
        self.start()

    def url(self, login="", database=0):
        return f"redis://{login}{'@' if login else ''}127.0.0.1:{self.port}/{database}"

    def client_line(self):
        """What a script that stands in for redis-cli runs: the real one, at this port."""
        prefix = package.unpack(*PACKAGES)
        libraries = ":".join(map(str, prefix.glob("usr/lib/*-linux-*")))
        return (f'LD_LIBRARY_PATH={libraries} exec {prefix}/usr/bin/redis-cli '
                f'-p {self.port} "$@"')

    def start(self):
        prefix = package.unpack(*PACKAGES)
        libraries = ":".join(map(str, prefix.glob("usr/lib/*-linux-*")))
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
                 "--save", "", "--appendonly", "no", "--dir", self.directory,
                 *self.arguments],
                executable=prefix / "usr/bin/redis-check-rdb", stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "LD_LIBRARY_PATH": libraries})
        try:
            wait.until(self._serves, "Redis's port")
        except BaseException:
            self.stop()
            raise

    def _serves(self):
        assert self._process.poll() is None, (self.directory / "log").read_text()
        return wait.port_answers(("127.0.0.1", self.port))

    def stop(self):
        processes.end(self._process)

    def kill(self):
        self._process.kill()
        self._process.wait()

    def ask(self, *words, login=None):
        """A command's reply: int, str, None or a list."""
        with socket.create_connection(("127.0.0.1", self.port), wait.PATIENCE) as link:
            stream = link.makefile("rwb")
            if login:
                _send(stream, "AUTH", *login)
                _receive(stream)
            _send(stream, *words)
            return _receive(stream)

    @contextlib.contextmanager
    def watching(self):
        """watching() -> seen(text): has a command with this text come since then?"""
        with socket.create_connection(("127.0.0.1", self.port), wait.PATIENCE) as link:
            stream = link.makefile("rwb")
            _send(stream, "MONITOR")
            _receive(stream)
            link.setblocking(False)
            heard = bytearray()

            def seen(text):
                with contextlib.suppress(BlockingIOError):
                    heard.extend(link.recv(1 << 20))
                return text.encode() in heard
            yield seen

    def wait_for(self, *words, until=bool):
        """The command's reply, once `until` says it is the one."""
        found = []

        def asked():
            found[:] = [self.ask(*words)]
            return until(found[0])
        wait.until(asked, f"{words}, last {found}")
        return found[0]


def _send(stream, *words):
    parts = [str(word).encode() for word in words]
    stream.write(b"*%d\r\n" % len(parts)
                 + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    stream.flush()


def _receive(stream):
    line = stream.readline().rstrip(b"\r\n").decode()
    kind, rest = line[0], line[1:]
    if kind == "-":
        raise AssertionError(rest)
    if kind == ":":
        return int(rest)
    if kind == "$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
    if kind == "*":
        return [_receive(stream) for _ in range(int(rest))]
    return rest


class OddRedis:
    """What takes connections like Redis. `answer(data)` gives what is sent back to each piece
    that arrives: bytes, or None for nothing."""

    def __init__(self, answer, greeting=b""):
        self._answer, self._greeting = answer, greeting
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = "redis://127.0.0.1:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                link, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link):
        with link:
            try:
                link.sendall(self._greeting)
                while data := link.recv(65536):
                    link.sendall(self._answer(data) or b"")
            except OSError:
                pass

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


def commands(data):
    """The names of the commands in a piece that arrived."""
    words = data.split(b"\r\n")
    return [words[at + 2].decode() for at, word in enumerate(words[:-2]) if word[:1] == b"*"]
