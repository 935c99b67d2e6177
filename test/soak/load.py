"""Clients that send one message after the other, and a backend that can go away: both write down
what they were told, and the judge holds one against the other."""

import collections
import contextlib
import itertools
import random
import re
import socket
import threading
import time

from support import backend as backends
from support import wait
from support.client import Client, Closed

_ID = re.compile(rb"^Message-ID: <(\d+)@soak\.test>\r$", re.MULTILINE)


class Backend(backends.Backend):
    """Counts the messages that it has said 250 to."""

    def __init__(self):
        self._port = 0
        super().__init__()
        self._port = self._listener.getsockname()[1]
        self.accepted = collections.Counter()
        self.on("message", self._take)

    def _listen(self, host):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, self._port))
        listener.listen(200)
        return listener

    def _take(self, connection, message):
        connection.say("250 2.0.0 Queued")
        self.accepted[int(_ID.search(message)[1])] += 1

    @contextlib.contextmanager
    def away(self):
        """Ends all sessions and refuses connections."""
        self.close()
        self.connections.clear()
        try:
            yield
        finally:
            self._listener = self._listen("127.0.0.1")
            threading.Thread(target=self._accept, daemon=True).start()


class Session:
    """What became of one client."""

    def __init__(self, number):
        self.number, self.step = number, "connecting"
        self.began, self.ended = time.monotonic(), None
        self.acknowledged, self.refusal, self.cut = False, None, None

    def run(self, address, source, body):
        try:
            with Client(address, tls=True, source=source) as client:
                self._talk(client, body)
        except (Closed, OSError) as error:     # TLS's errors are OSErrors, too
            self.cut = repr(error)
        except AssertionError as error:
            self.refusal = str(error)
        self.ended = time.monotonic()

    def _talk(self, client, body):
        self.step = "greeting"
        client.greeting()
        self.step = "EHLO"
        client.ehlo()
        self.step = "login"
        client.login("alice", "wonderland")
        self.step = "envelope"
        client.envelope()
        self.step = "DATA"
        client.command("DATA", 354)
        self.step = "message"
        client.send(b"Message-ID: <%d@soak.test>\r\n\r\n%s.\r\n" % (self.number, body))
        client.reply(250)
        self.acknowledged = True
        self.step = "QUIT"
        client.quit()

    def describe(self):
        return f"session {self.number}, at {self.step}: {self.refusal or self.cut}"


class Visitors:
    """So many clients at a time, until they are told to rest."""

    def __init__(self, address, number, seed):
        self._address = address
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._ends, self._works = False, threading.Event()
        self._busy = 0
        self.sessions, self.spans = [], []
        self.count = 0      # of those that went well
        self._threads = [threading.Thread(target=self._visit, args=(random.Random(seed + each), each),
                                          daemon=True) for each in range(number)]

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_):
        self._ends = True
        self._works.set()
        for each in self._threads:
            each.join()

    def _visit(self, chance, place):
        while True:
            self._works.wait()
            if self._ends:
                return
            with self._lock:
                self._busy += 1
                session = Session(next(self._numbers))
            session.run(self._address, f"127.0.1.{place + 1}",
                        b"x" * 70 + b"\r\n" if chance.random() < 0.8 else b"a line of text\r\n" * 5000)
            with self._lock:
                self._busy -= 1
                self.sessions.append(session)
                self.count += session.cut is None and session.refusal is None

    def work(self):
        self._works.set()

    def rest(self):
        self._works.clear()
        wait.until(lambda: not self._busy, "the end of all sessions", wait.PATIENCE * 3)

    def go_on(self, visits=10):
        """Waits until some more went well."""
        seen = self.count
        wait.until(lambda: self.count >= seen + visits, "some sessions", wait.PATIENCE * 2)

    def served_since(self, moment):
        """A condition: one that began after that went well."""
        def served():
            with self._lock:
                return any(s.began > moment and s.acknowledged for s in reversed(self.sessions[-200:]))
        return served

    @contextlib.contextmanager
    def may_meet(self, what):
        """Sessions that are open in this span may have met that."""
        span = [what, time.monotonic(), None]
        self.spans.append(span)
        try:
            yield
        finally:
            span[2] = time.monotonic()

    def met(self, session):
        return {what for what, since, until in self.spans
                if session.began <= (until or session.ended) and session.ended >= since}
