"""A mail server that misbehaves on request: a thread for each connection, on TCP or a unix socket.

What it does at each step is a reply, or a function of the test's, by name of the step:

    connect             the greeting                 default "220 …"
    EHLO, MAIL, …       a verb's reply               default by DEFAULTS
    BDAT                a chunk is announced         default waits for it, and then "chunk"
    begin               354 has been sent            default nothing
    message             the end of data has come     default "250 2.0.0 …"
    chunk               a BDAT chunk has come        default "250 2.0.0 …"

A function gets the connection and the command line, and sends what it likes. Everything that was
received is kept, byte for byte.
"""

import os
import re
import socket
import struct
import threading

from support import wait

EXTENSIONS = ("PIPELINING", "SIZE 50000000", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8",
              "CHUNKING")
ATTRIBUTES = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

DEFAULTS = {
    "XCLIENT": "220 fake.test ESMTP",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 Go ahead",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "VRFY": "252 2.0.0 Perhaps",
    "EXPN": "252 2.0.0 Perhaps",
    "HELP": "214 2.0.0 No",
    "HELO": "250 fake.test",
    "ETRN": "250 2.0.0 Queuing started",
    "QUIT": "221 2.0.0 Bye",
    "message": "250 2.0.0 Queued",
    "chunk": "250 2.0.0 Chunk taken",
    "connect": "220 fake.test ESMTP",
}

STRICT_END = (b"\r\n.\r\n",)
#: What one server or another has been seen to take for the end of a message.
CREDULOUS_ENDS = (b"\r\n.\r\n", b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r\n", b"\r.\r", b"\r.\n",
                  b"\n.\0\r\n", b"\r\n.\0\n")


class Gone(Exception):
    """The other side has closed, or the test wants it closed."""


class Connection:
    """One connection, seen from the backend."""

    def __init__(self, backend, accepted, peer):
        self.backend = backend
        self.socket = accepted
        self.peer = peer              # (address, port …)
        self.received = bytearray()   # everything
        self.commands = []            # lines outside messages, without CRLF
        self.messages = []            # as on the wire, with the end of data
        self.chunks = []              # (size, last, bytes)
        self.xclient = []             # arguments of each XCLIENT
        self.ended = None             # "closed" or "reset", by the other side
        self._buffer = b""

    # for the functions of tests

    def send(self, data):
        """Bytes as they are."""
        try:
            self.socket.sendall(data if isinstance(data, bytes) else data.encode())
        except OSError as error:
            self.ended = "reset"
            raise Gone from error

    def say(self, text):
        """A reply; several lines are told apart by newlines and get their hyphens."""
        lines = text.split("\n")
        code = lines[0][:3]
        for line in lines[1:]:
            assert line[:3] == code, f"not one reply: {text!r}"
        self.send("".join((line[:3] + "-" + line[4:] if line is not lines[-1] else line) + "\r\n"
                          for line in lines))

    def drop(self):
        """Closes at once."""
        raise Gone

    def reset(self):
        """RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone

    def hold(self, event):
        """Does nothing, reads nothing, until the test sets the event."""
        assert event.wait(wait.PATIENCE * 3), "the test has never released the backend"

    @property
    def verbs(self):
        return [line.split(b" ")[0].upper().decode("latin-1") for line in self.commands]

    def sent_ahead(self, moment_s):
        """What has been sent before its time, and so arrives within this moment; b"": nothing."""
        self.socket.settimeout(moment_s)
        try:
            return self.socket.recv(1000)
        except TimeoutError:
            return b""
        finally:
            self.socket.settimeout(None)

    @property
    def chunked(self):
        """The messages that came in chunks, each whole; the last one as far as it came."""
        messages = [b""]
        for _, last, chunk in self.chunks:
            messages[-1] += chunk
            if last:
                messages.append(b"")
        return messages if messages[-1] else messages[:-1]

    @property
    def has_quit(self):
        return "QUIT" in self.verbs

    @property
    def is_probe(self):
        """Only asked what is offered."""
        return all(verb in ("EHLO", "STARTTLS", "QUIT") for verb in self.verbs)

    @property
    def identity(self):
        """What Postfix would make of all XCLIENTs: a later one without LOGIN clears it."""
        known = {}
        for arguments in self.xclient:
            known.pop("LOGIN", None)
            for word in arguments.split(b" "):
                name, _, value = word.partition(b"=")
                known[name.decode().upper()] = re.sub(
                    rb"\+([0-9A-F]{2})", lambda hex: bytes([int(hex[1], 16)]), value).decode()
        return known

    # the conversation

    def run(self):
        try:
            self._step("connect", b"")
            while True:
                self._command(self._line())
        except (Gone, OSError):
            pass
        finally:
            self.socket.close()
            self.backend.notify()

    def _step(self, name, line):
        action = self.backend.actions.get(name)
        if action is None and name == "EHLO":
            return self.ehlo()
        if action is None:
            action = DEFAULTS.get(name, "500 5.5.2 What?")
        if callable(action):
            return action(self, line)
        self.say(action)
        return action

    def ehlo(self):
        """As it is answered unless a test says otherwise."""
        backend = self.backend
        lines = ["250 fake.test", *(f"250 {keyword}" for keyword in backend.extensions)]
        if backend.attributes is not None:
            lines.append(f"250 XCLIENT {backend.attributes}".rstrip())
        self.say("\n".join(lines))

    def _command(self, line):
        self.commands.append(line)
        verb, _, arguments = line.partition(b" ")
        verb = verb.upper().decode("latin-1")
        if verb == "XCLIENT":
            self.xclient.append(arguments)
        self.backend.notify()
        if verb == "BDAT" and verb not in self.backend.actions:
            self.take_chunk(line)
            self._step("chunk", line)
            return
        said = self._step(verb, line)
        if verb == "DATA" and isinstance(said, str) and said.startswith("354"):
            if "begin" in self.backend.actions:
                self.backend.actions["begin"](self, line)
            self.take_message()
        if verb == "QUIT":
            raise Gone

    def take_message(self):
        """Reads up to what this backend takes for the end, and answers."""
        message = self._until_end_of_data()
        self.messages.append(message)
        self.backend.notify()
        self._step("message", message)

    def take_chunk(self, line):
        """Reads what BDAT has announced, and answers nothing."""
        _, size, *last = line.split(b" ")
        size = int(size)
        while len(self._buffer) < size:
            self._receive()
        chunk, self._buffer = self._buffer[:size], self._buffer[size:]
        self.chunks.append((size, b" ".join(last).upper() == b"LAST", chunk))
        self.backend.notify()

    def _receive(self):
        try:
            data = self.socket.recv(1 << 18)
        except OSError as error:
            self.ended = "reset" if isinstance(error, ConnectionResetError) else "closed"
            raise Gone from error
        if not data:
            self.ended = "closed"
            raise Gone
        self.received += data
        self._buffer += data

    def _line(self):
        while b"\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line[:-1] if line.endswith(b"\r") else line

    def _until_end_of_data(self):
        """The longest of the ends counts where several end at one place; the first place wins."""
        pieces, tail = [], b"\r\n"
        while True:
            window = tail + self._buffer
            place = min((found + len(end) for end in self.backend.ends
                         if (found := window.find(end)) >= 0), default=None)
            if place is not None:
                split = place - len(tail)
                pieces.append(self._buffer[:split])
                self._buffer = self._buffer[split:]
                return b"".join(pieces)
            pieces.append(self._buffer)
            tail = window[-4:]
            self._buffer = b""
            self._receive()


class Backend:
    def __init__(self, path=None, host="127.0.0.1"):
        self.path = str(path) if path else None
        self.actions = {}
        self.extensions = EXTENSIONS
        self.attributes = ATTRIBUTES  # None: XCLIENT is not offered
        self.ends = STRICT_END
        self.connections = []
        self._changed = threading.Condition()
        self._listener = self._listen(host)
        #: As the configuration writes it.
        self.address = f"unix:{path}" if path else \
            ("[%s]:%d" if ":" in host else "%s:%d") % self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, daemon=True).start()

    def _listen(self, host):
        if self.path:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path)
            os.chmod(self.path, 0o666)
        else:
            listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, 0))
        listener.listen(200)
        return listener

    def on(self, step, action):
        """Sets what happens at a step; see above. Returns itself, to be chained."""
        self.actions[step] = action
        return self

    def _accept(self):
        while True:
            try:
                accepted, peer = self._listener.accept()
            except OSError:
                return
            connection = Connection(self, accepted, peer)
            self.connections.append(connection)
            self.notify()
            threading.Thread(target=connection.run, daemon=True).start()

    def notify(self):
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition, what, timeout=wait.PATIENCE):
        """Until `condition()` is true, which is asked after each event; returns what it said."""
        with self._changed:
            # Also now and then without an event: replies that tests send by hand make none.
            deadline = timeout
            while deadline > 0:
                found = condition()
                if found:
                    return found
                self._changed.wait(0.1)
                deadline -= 0.1
        raise wait.Lost(f"{what}; the backend has seen "
                        + repr([c.commands for c in self.connections]))

    @property
    def sessions(self):
        """Connections that were for somebody: not those that only asked what is offered."""
        return [c for c in list(self.connections) if not c.is_probe]

    def session(self, number=0):
        """The connection of the n-th client that was logged in, once it is there."""
        self.wait(lambda: len(self.sessions) > number, f"no session {number}")
        return self.sessions[number]

    def everything_received(self):
        return b"".join(bytes(c.received) for c in self.connections)

    def stop_listening(self):
        """Further connections are refused; existing ones stay."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def close(self):
        self.stop_listening()
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
