"""Faults under load: what happens to Postern every three seconds, and what may be lost by it.

Each fault is a context: while it lasts something is dead, frozen or silent, and what it costs is
written down, so that the judge knows what a client may have met. Times are time.monotonic().
"""

import contextlib
import os
import random
import re
import signal
import socket
import threading
import time

from support import processes, wait

#: Seconds that something stays frozen or away.
_MOMENT_S = 2.0
_MAIL = 2
_RELOADED = re.compile("^reloaded: ")


class Syslog:
    """Reads /dev/log into the file that the tests look for records in; or lets it stand."""

    def __init__(self, path, log_path):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.chmod(path, 0o666)
        self._socket.settimeout(0.2)
        self._log = open(log_path, "a", encoding="utf-8")
        self._reads = threading.Event()
        self._reads.set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._closed:
            self._reads.wait()
            try:
                text = self._socket.recv(65536).decode("utf-8", "replace")
            except TimeoutError:
                continue
            found = re.match(r"<(\d+)>\w{3} [ \d]\d [\d:]{8} postern\[\d+\]: (.*)", text, re.DOTALL)
            if found and int(found[1]) // 8 == _MAIL:  # what PAM says is of another facility
                self._log.write(found[2].rstrip("\n") + "\n")
                self._log.flush()

    @contextlib.contextmanager
    def silent(self):
        self._reads.clear()
        try:
            yield
        finally:
            self._reads.set()

    def close(self):
        self._closed = True
        self._thread.join()
        self._socket.close()
        self._log.close()


class Faults:
    """One after the other, each kind as often as the others, in an order drawn with a seed."""

    def __init__(self, postern, backend, syslog, visitors, seed):
        self._postern, self._backend = postern, backend
        self._syslog, self._visitors = syslog, visitors
        self._random = random.Random(seed)
        self._bag = []
        self.count = {}
        self.findings = []
        self._kinds = {
            "reactor killed": lambda: self._killed("reactor"),
            "auth worker killed": lambda: self._killed("auth worker"),
            "reload": self._reload,
            "reactor frozen": lambda: self._frozen("reactor"),
            "auth worker frozen": lambda: self._frozen("auth worker"),
            "master frozen": lambda: self._frozen("master"),
            "syslog not read": self._unread,
            "backend away": self._away,
        }

    def next(self):
        """Lets one happen, to its end; returns its name."""
        if not self._bag:
            self._bag = list(self._kinds)
            self._random.shuffle(self._bag)
        name = self._bag.pop()
        try:
            self._kinds[name]()
        except AssertionError as error:
            self.findings.append(f"{name}: {str(error)[:500]}")
        self.count[name] = self.count.get(name, 0) + 1
        return name

    def _pick(self, role):
        return self._random.choice(self._postern.pids(role) or [None])

    def _send(self, pid, number):
        """False if it has ended by itself, as those of an old generation do."""
        try:
            os.kill(pid, number)
        except (ProcessLookupError, TypeError):
            return False
        return True

    def _killed(self, role):
        pid = self._pick(role)
        with self._visitors.may_meet("kill") if role == "reactor" else contextlib.nullcontext():
            self._send(pid, signal.SIGKILL)
            wait.until(lambda: not processes.alive(pid or 0), f"the end of a {role}")
            self._visitors.go_on()

    def _reload(self):
        self._postern.reload()
        self._visitors.go_on()

    def _frozen(self, role):
        pid = self._pick(role)
        if not self._send(pid, signal.SIGSTOP):
            return
        time.sleep(_MOMENT_S)
        self._send(pid, signal.SIGCONT)
        self._visitors.go_on()

    def _unread(self):
        """Logins go on; so does a reload, whose record is there when it is read again, unless so
        many had come before it that it was lost: then that is there."""
        reloads, told = self._reloads(), self._told()
        with self._syslog.silent():
            self._visitors.go_on(40)
            self._postern.signal(signal.SIGHUP)
            time.sleep(_MOMENT_S)
            self._visitors.go_on()
        time.sleep(_MOMENT_S)
        if self._reloads() == reloads:
            self._postern.signal(signal.SIGHUP)  # the next record of the master is preceded by that
            wait.until(lambda: self._reloads() > reloads, "the record of a reload")
            assert self._told() > told, "the record of a reload has gone, and no word of it"

    def _reloads(self):
        return len(self._postern.find_records(msg=_RELOADED))

    def _told(self):
        return len(self._postern.find_records(event="log records lost", process="master"))

    def _away(self):
        with self._visitors.may_meet("outage"):
            with self._backend.away():
                time.sleep(_MOMENT_S)
            wait.until(self._visitors.served_since(time.monotonic()), "a login behind an outage")
