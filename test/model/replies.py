"""Replies as the model's client reads them (RFC 5321 section 4.2): strictly.

Every reply of the model's backend carries a mark, so that the judge finds the place where the
backend said it. A reply of Postern's own has none.
"""

import re

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?\r\n\Z", re.DOTALL)
_MARK = re.compile(rb"<t:(\d+)\.(\d+)>")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def mark(session, slot):
    """The text that names the `slot`-th reply of a session's backend."""
    return b"<t:%d.%d>" % (session, slot)


class Reply:
    """`texts` are the lines without code and line end; `marks` the (session, slot) in them."""

    __slots__ = ("code", "texts", "marks")

    def __init__(self, code):
        self.code = code
        self.texts = []
        self.marks = set()

    def add(self, text):
        self.texts.append(text)
        for match in _MARK.finditer(text):
            self.marks.add((int(match[1]), int(match[2])))

    @property
    def is_own(self):
        """Did Postern say it by itself? The replies to EHLO are also of this kind."""
        return not self.marks

    @property
    def slot(self):
        """The place among the backend's replies; None if the reply is Postern's own."""
        return min(self.marks)[1] if self.marks else None

    def __repr__(self):
        return f"{self.code} {b' / '.join(self.texts).decode('latin-1')[:160]}"


class ReplyReader:
    """Cuts what the client hears into replies. `fault` is the first thing that is no reply."""

    def __init__(self):
        self.fault = None
        self._buffer = b""
        self._open = None  # a reply whose last line has not come

    def feed(self, data):
        """The replies that these bytes complete."""
        self._buffer += data
        complete = []
        while not self.fault and b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            reply = self._take(line + b"\n")
            if reply:
                complete.append(reply)
        return complete

    def _take(self, line):
        match = _LINE.match(line)
        if not match:
            self.fault = f"not a line of a reply: {line!r}"
            return None
        if _CONTROL.search(match[3] or b""):
            self.fault = f"a control character in a reply: {line!r}"
            return None
        code = int(match[1])
        if self._open and self._open.code != code:
            self.fault = f"one reply with two codes: {self._open} and then {line!r}"
            return None
        reply = self._open or Reply(code)
        reply.add(match[3] or b"")
        self._open = reply if match[2] == b"-" else None
        return None if self._open else reply

    @property
    def partial(self):
        """The beginning of a reply that was never completed; None if there is none."""
        if self._open or self._buffer:
            return f"{self._open or ''}{self._buffer!r}"
        return None
