"""What a backend of the model keeps of its session, for the judge."""


class Gone(Exception):
    """The connection ended, or has to end."""


class Slot:
    """A reply that the backend has given. `lines` are as sent, without line ends."""

    __slots__ = ("code", "lines", "verb", "seen")

    def __init__(self, code, lines, verb, seen):
        self.code, self.lines, self.verb, self.seen = code, lines, verb, seen


class Seen:
    """A command as the backend read it, with the message or chunk after it."""

    __slots__ = ("line", "verb", "slot", "body", "whole", "body_slot", "size", "last", "binary",
                 "opening", "is_opening", "counted", "gate_open")

    def __init__(self, line):
        self.line = line
        self.verb = line.split(b" ", 1)[0].decode("latin-1").upper()
        self.slot = None       # place of the reply in `slots`
        self.body = None       # the message with its end, or the chunk; None: none began
        self.whole = False
        self.body_slot = None  # of the reply to the message or chunk
        self.size, self.last = 0, False
        self.binary = False    # a chunk of a message that was announced as binary
        self.opening = None    # alignment.py: the chunk that Postern sent before this one
        self.is_opening = False  # alignment.py: Postern sent it before the client's own chunk
        self.counted = False   # the plan's early fault has been held against it
        self.gate_open = False  # the backend has read the gate, and lets the client go on

    @property
    def content(self):
        """What the backend read for the client's message or chunk, the opening included."""
        return (self.opening.body if self.opening else b"") + self.body

    def __repr__(self):
        body = f" + {len(self.body)} bytes, whole: {self.whole}" if self.body is not None else ""
        return f"{self.line[:100]!r}{body} -> {self.slot} {self.body_slot or ''}"
