"""Clients that come and go all the time, and are never refused."""

import threading

from support import wait
from support.client import Client


class Visitors:
    """While the `with` block runs; a refusal of any kind fails it at its end."""

    def __init__(self, postern, number=4):
        self._postern = postern
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(number)]
        self.count, self.failures = 0, []

    def _visit(self):
        while not self._done.is_set():
            try:
                with Client(self._postern.implicit, tls=True) as one:
                    one.greeting()
                    one.ehlo()
                    one.login("alice", "wonderland")
                    one.send_message("a@b.test", ["c@d.test"], b"x\r\n")
                    one.quit()
                self.count += 1
            except Exception as error:  # every kind of it is a refusal
                self.failures.append(repr(error))

    def go_on(self, visits=10):
        """Waits until there have been some more."""
        seen = self.count
        wait.until(lambda: self.count >= seen + visits or self.failures, "some visits")

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, kind, *_):
        self._done.set()
        for each in self._threads:
            each.join()
        assert kind or not self.failures, self.failures[:5]
