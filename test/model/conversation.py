"""The client's side of a session, read independently of Postern: what it sent, cut into commands,
messages and chunks, and the reply to each.

The client feeds it while it talks, to know what is still unanswered; the judge reads it afterwards.
Only a reply tells whether a message follows DATA, so the reading waits where Postern has to wait.
"""

import re

import message

#: The longest command with its line end (proxy/smtp/command.h).
LINE_LIMIT = 2048

#: Verbs that may be forwarded to a backend.
FORWARDED = {"EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN",
             "HELP", "ETRN"}
#: Verbs with which only Postern may tell a backend who the client is.
IDENTITY = {"XCLIENT", "XFORWARD", "XCONNECT", "PROXY"}
#: Commands of other protocols: they close the session.
FOREIGN = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI"}

_BAD_BYTE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BDAT = re.compile(rb"(0|[1-9]\d{0,9})( +LAST)?\Z", re.IGNORECASE)


class Exchange:
    """A command, or the message after a DATA, with the reply to it (None: there is none).

    kind is "line", "long" (over-long line), "bad" (control character), or "message"."""

    def __init__(self, kind, verb="", line=b""):
        self.kind = kind
        self.verb = verb
        self.line = line
        self.reply = None
        self.whole = True        # False: the message or chunk was not sent to its end
        self.raw = b""           # the message with its end, or the chunk
        self.size = None         # of a chunk; None: BDAT that cannot be read
        self.last = False
        self.data = None         # of a DATA: the exchange of its message

    def __repr__(self):
        text = self.line if self.kind != "message" else b"(message) " + self.raw
        state = "" if self.whole else " (not whole)"
        return f"{text[:100]!r}{state} -> {self.reply}"


def _classify(line):
    if _BAD_BYTE.search(line):
        return Exchange("bad", line=line)
    verb = line.split(b" ", 1)[0].decode("latin-1").upper()
    return Exchange("line", verb, line)


class Conversation:
    def __init__(self):
        self.exchanges = []
        self.replies = []      # all of them, in order
        self.unsolicited = []  # replies while nothing was unanswered
        self.sent = bytearray()
        self._at = 0           # the first byte that is not dealt with
        self._unanswered = []
        self._open = None      # a message or chunk that is not whole yet
        self._waiting = None   # a DATA without its reply
        self._skipping = False # the rest of an over-long line
        self._over = False     # the rest of what the client sends is nobody's

    @property
    def outstanding(self):
        """How many commands, whole messages and chunks wait for a reply."""
        return sum(each.whole for each in self._unanswered)

    @property
    def next_answered(self):
        """What the next reply answers; None: nothing."""
        return self._unanswered[0] if self._unanswered else None

    @property
    def in_message(self):
        """Has the client begun a message and not ended it?"""
        return self._open is not None and self._open.kind == "message"

    @property
    def open_exchange(self):
        """The message or chunk that is not whole yet; None: there is none."""
        return self._open

    def feed_sent(self, data):
        self.sent += data
        self._advance()

    def feed_reply(self, reply):
        """Gives the reply to the first command that has none."""
        self.replies.append(reply)
        if not self._unanswered:
            self.unsolicited.append(reply)
            self._over |= reply.code == 421
            return
        exchange = self._unanswered.pop(0)
        exchange.reply = reply
        if reply.code == 421:
            self._over = True
        if exchange is self._waiting:
            self._waiting = None
            if reply.code // 100 == 3:
                self._begin_message(exchange)
        self._advance()

    @property
    def stuck(self):
        """A DATA whose reply the client never heard, with all that follows it; or None."""
        return self._waiting

    def assume(self, has_message):
        """For the judge, when the client has left early: what became of the DATA that is stuck."""
        exchange, self._waiting = self._waiting, None
        self._unanswered.remove(exchange)
        if has_message:
            self._begin_message(exchange)
        self._advance()

    def _add(self, exchange):
        self.exchanges.append(exchange)
        self._unanswered.append(exchange)

    def _begin_message(self, data):
        self._open = data.data = Exchange("message")
        self._open.whole = False
        self._add(self._open)

    def _advance(self):
        while self._step():
            continue

    def _step(self):
        """Deals with the next piece; False: there is none yet."""
        if self._over or self._waiting or self._at >= len(self.sent):
            return False
        if self._open:
            return self._take_message() if self.in_message else self._take_chunk()
        return self._take_line()

    def _take_message(self):
        raw = bytes(self.sent[self._at:])
        length = message.find_end(raw)
        if length < 0:
            self._open.raw = raw
            return False
        self._close(raw[:length])
        return True

    def _take_chunk(self):
        raw = bytes(self.sent[self._at:self._at + self._open.size])
        if len(raw) < self._open.size:
            self._open.raw = raw
            return False
        self._close(raw)
        return True

    def _close(self, raw):
        self._open.raw, self._open.whole = raw, True
        self._at += len(raw)
        self._open = None

    def _take_line(self):
        end = self.sent.find(b"\n", self._at, self._at + LINE_LIMIT)
        if end < 0 or self._skipping:
            return self._take_long_line()
        line = bytes(self.sent[self._at:end])
        self._at = end + 1
        exchange = _classify(line[:-1] if line.endswith(b"\r") else line)
        self._add(exchange)
        if exchange.kind == "line":
            self._begin(exchange)
        return True

    def _take_long_line(self):
        if len(self.sent) - self._at < LINE_LIMIT and not self._skipping:
            return False
        end = self.sent.find(b"\n", self._at)
        if not self._skipping:
            self._add(Exchange("long", line=bytes(self.sent[self._at:self._at + 40])))
        self._skipping = end < 0
        self._at = len(self.sent) if self._skipping else end + 1
        return True

    def _begin(self, exchange):
        verb = exchange.verb
        if verb == "DATA":
            self._waiting = exchange
        elif verb == "BDAT":
            self._begin_chunk(exchange)
        elif verb == "QUIT" or verb in FOREIGN:
            self._over = True

    def _begin_chunk(self, exchange):
        match = _BDAT.match(exchange.line[4:].strip(b" \t"))
        if not match or int(match[1]) > 0x7fffffff:
            self._over = True
            return
        exchange.size, exchange.last = int(match[1]), bool(match[2])
        if exchange.size > 0:
            exchange.whole = False
            self._open = exchange
