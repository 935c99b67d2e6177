"""What a session's client does, made from the seed and the session's number alone.

A script is a list of steps; client.py does them:

    ("send", bytes, cuts)     in segments: `cuts` are (offset, pause in ms)
    ("message", bytes, cuts)  the same, but only if the server waits for (more of) a message
    ("sync",)                 waits until everything is answered
    ("gate",)                 waits for an answer in the middle of a message or chunk
    ("deaf", ms)              reads nothing for so long, beside what follows
    ("end", how)              "quit" (waits for the end), "fin", "reset", "close"
"""

import base64
import dataclasses
import random
import re

import letters
import plan as plans
from backend import GATE

LOGINS = ("alice", "bob+tag@mail.example", "o'hara", "c=x+y", "dave")
STYLES = ("polite", "grouped", "grouped", "eager")


@dataclasses.dataclass
class Script:
    seed: int
    number: int
    door: object
    tls: str                 # "none", "1.2", "1.3"
    name: bytes
    login: str | None
    source: str
    torn: bool = False
    is_polite: bool = True   # it waits for each reply
    steps: list = dataclasses.field(default_factory=list)
    plan: plans.Plan | None = None

    def is_own_name(self, name):
        """Has the client called itself so, in its first EHLO or in a later one?"""
        return bool(re.fullmatch(rb"[sm]%d(-\d+)?\.client\.example(\?b|\?\?)?" % self.number,
                                 name))

    def __str__(self):
        lines = [f"session {self.number} of seed {self.seed}: listener {self.door.name}, "
                 f"TLS {self.tls}, login {self.login}, from {self.source}"]
        lines += [f"  client: {' '.join(_shown(each) for each in step)}" for step in self.steps]
        return "\n".join(lines + [f"  backend: {self.plan}"])


def _shown(part):
    return repr(part) if isinstance(part, bytes) else str(part)


class Writer:
    """Collects the steps of one script."""

    def __init__(self, rng, script):
        self._rng, self._script = rng, script
        self._pending = b""     # bytes of the next step
        self._count = 0         # tags given out
        self.is_secure = script.tls != "none"
        self.style = rng.choice(STYLES)
        script.is_polite = self.style == "polite"
        self._cutting = rng.choice(("whole", "whole", "few", "few", "fine"))

    def tag(self):
        self._count += 1
        return b"%d-%d" % (self._script.number, self._count)

    def _cuts(self, data):
        rng = self._rng
        if self._cutting == "whole" or len(data) < 2:
            return ()
        count = rng.choice((1, 2, 3)) if self._cutting == "few" else rng.choice((5, 10, 20))
        offsets = sorted({rng.randrange(1, len(data)) for _ in range(count)})
        return tuple((each, rng.choice((0, 0, 0, 1, 1, 3))) for each in offsets)

    def put(self, data):
        self._pending += data

    def line(self, line):
        self.put(line + (b"\n" if self._rng.random() < 0.03 else b"\r\n"))

    def flush(self):
        if self._pending:
            self._script.steps.append(("send", self._pending, self._cuts(self._pending)))
        self._pending = b""

    def step(self, *step):
        self.flush()
        self._script.steps.append(step)

    def message(self, data):
        self.step("message", data, self._cuts(data))

    def sync(self):
        self.step("sync")

    def may_sync(self):
        """At a place where a client of this style waits for its replies."""
        if self.style == "polite":
            self.sync()


def _noise(rng, writer, share):
    while rng.random() < share:
        writer.line(letters.noise(rng, writer.tag(), writer.is_secure))
        writer.may_sync()
        share /= 2


def _envelope(rng, writer, door, binary):
    writer.line(letters.mail(rng, writer.tag(), binary))
    writer.may_sync()
    _noise(rng, writer, 0.2)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3))):
        writer.line(letters.recipient(rng, writer.tag(), 0.3 if door.role == "mx" else 0.05))
        writer.may_sync()
    _noise(rng, writer, 0.2)


def _data(rng, writer, gated):
    raw = letters.letter(rng, writer.tag(), rng.random() < 0.25)
    writer.line(letters.mixed_case(rng, b"DATA"))
    if gated:
        writer.sync()
        writer.message(b"Subject: early\r\n" + GATE + b"\r\n")
        writer.step("gate")
        writer.message(letters.canaries(rng, writer.tag()) + b"\r\n" + raw)
        writer.sync()
    elif writer.style == "eager" and rng.random() < 0.7:
        writer.put(raw)
    else:
        writer.sync()
        _paced_message(rng, writer, raw)
        if writer.style != "eager":
            writer.sync()


def _paced_message(rng, writer, raw):
    if rng.random() < 0.1:
        half = rng.randrange(len(raw))
        writer.message(raw[:half])
        writer.step("pause", rng.choice((1, 5, 20)))
        raw = raw[half:]
    writer.message(raw)


def _cut_content(rng, raw, binary):
    """The content of chunks; only seldom is a CRLF cut in two."""
    count, pieces = rng.choice((1, 1, 1, 2, 3)), []
    for _ in range(count - 1):
        at = rng.randrange(len(raw) + 1)
        if not binary and raw[at - 1:at + 1] == b"\r\n" and rng.random() < 0.9:
            at += 1
        pieces.append(raw[:at])
        raw = raw[at:]
    pieces.append(raw)
    return pieces + ([b""] if rng.random() < 0.1 else [])


def _between_chunks(rng, writer, door):
    """A command that a server may take for the end of the transaction, or some other one."""
    if rng.random() < 0.5:
        _noise(rng, writer, 1)
    elif rng.random() < 0.7:
        writer.line(b"DATA")
        writer.sync()
        writer.message(b"not in chunks\r\n.\r\n")
    else:
        _envelope(rng, writer, door, False)


def _chunks(rng, writer, door, gated, binary):
    raw = letters.content(rng, writer.tag(), rng.random() < (0.8 if binary else 0.15))
    pieces = _cut_content(rng, raw, binary)
    if gated:
        pieces[0] = b"Subject: early\r\n" + GATE + b"\r\n" + pieces[0] + \
            letters.canaries(rng, writer.tag())
    for i, piece in enumerate(pieces):
        is_last = i + 1 == len(pieces)
        last = b" LAST" if is_last and rng.random() < 0.97 else b""
        if rng.random() < 0.05:
            last = last.replace(b" ", b"   ")
        writer.line(b"BDAT%s%d%s" % (rng.choice((b" ",) * 19 + (b"  ",)), len(piece), last))
        if gated and i == 0:
            cut = piece.index(GATE) + len(GATE) + 2
            writer.put(piece[:cut])
            writer.step("gate")
            piece = piece[cut:]
        writer.put(piece)
        if not is_last and rng.random() < 0.2:
            _between_chunks(rng, writer, door)
        writer.may_sync()
    if writer.style == "grouped":
        writer.sync()


def _transaction(rng, writer, door, gate):
    in_chunks = rng.random() < 0.45 if gate is None else gate == "chunk"
    binary = in_chunks and rng.random() < 0.15
    if rng.random() < 0.93 or gate:
        _envelope(rng, writer, door, binary)
    if in_chunks:
        _chunks(rng, writer, door, gate is not None, binary)
    elif rng.random() < 0.95:
        _data(rng, writer, gate is not None)


def _flood(rng, writer):
    """More commands than Postern has places for, and perhaps a client that does not read."""
    if rng.random() < 0.5:
        writer.step("deaf", rng.choice((20, 100)))
    kind = rng.choice((b"NOOP %s", b"RCPT TO:<%s@example.org>", b"XCLIENT LOGIN=%s"))
    for _ in range(rng.choice((9, 130, 300))):
        writer.line(kind % writer.tag())


def _body(rng, writer, script):
    fault = script.plan.fault
    gated = fault if fault and fault.kind == "early" and fault.gated else None
    places = [gated.skip] if gated else []
    for i in range(max(rng.choice((1, 1, 2, 2, 3)), max(places, default=0) + 1)):
        _noise(rng, writer, 0.2)
        gate = None
        if gated and i <= gated.skip:
            gate = gated.verb
        _transaction(rng, writer, script.door, gate)
        if rng.random() < 0.02:
            writer.line(letters.long_line(rng, writer.tag()))
        if rng.random() < 0.01:
            _flood(rng, writer)
            script.is_polite = False
        if rng.random() < 0.01:
            writer.line(rng.choice(letters.BROKEN_CHUNKS + letters.FOREIGN))
            writer.put(letters.canaries(rng, writer.tag()))


def _end(rng, writer, door):
    ending = rng.choices(("quit", "rest", "fin", "reset", "close", "half"), (65, 5, 12, 5, 5, 8))[0]
    if ending in ("quit", "rest"):
        writer.line(letters.mixed_case(rng, b"QUIT"))
        if ending == "rest":
            writer.put(letters.canaries(rng, writer.tag()))
        writer.step("end", "quit")
    elif ending == "half":
        _envelope(rng, writer, door, False)
        if rng.random() < 0.5:
            writer.line(b"DATA")
            writer.sync()
            writer.message(b"half\r\n" + rng.choice((b".", b".\r", b"x", b"")))
        else:
            writer.put(rng.choice((b"BDAT 100 LAST\r\nhalf\r\n.\r\n", b"NOOP ha", b"RSET\r")))
        writer.step("end", rng.choice(("fin", "fin", "reset", "close")))
    else:
        writer.step("end", ending)


def _hello(rng, writer, script):
    # a device's; where MAIL needs a parameter, EHLO is said for it
    may_be_helo = script.door.identity != "auth-param"
    verb = b"HELO" if may_be_helo and rng.random() < (0.05 if script.login else 0.15) else b"EHLO"
    writer.put(verb + b" " + script.name + b"\r\n")
    writer.sync()
    if not script.login:
        return
    secret = base64.b64encode(b"\0" + script.login.encode() + b"\0secret")
    writer.put(b"AUTH PLAIN " + secret + b"\r\n")
    if rng.random() < 0.8:
        writer.sync()


def generate(seed, number, doors):
    """The script of one session."""
    rng = random.Random(f"{seed}/{number}")
    door = rng.choices(doors, [each.share for each in doors])[0]
    if door.tls == "starttls" and door.role == "mx":
        tls = rng.choice(("none", "none", "1.2", "1.3"))
    else:
        tls = rng.choice(("1.2", "1.3", "1.3"))
    script = Script(seed, number, door, tls, b"s%d.client.example" % number,
                    rng.choice(LOGINS) if door.role == "submission" else None,
                    f"127.{10 + number % 200}.{number // 200 % 250}.{1 + number // 50000 % 250}",
                    torn=rng.random() < 0.1)
    script.plan = plans.choose(rng, f"{seed}/{number}/backend")
    writer = Writer(rng, script)
    _hello(rng, writer, script)
    _body(rng, writer, script)
    _end(rng, writer, door)
    return script


def steady(number, door):
    """A well-behaved session; its backend does nothing odd either."""
    name, tls = b"s%d.client.example" % number, "1.3" if number % 2 else "1.2"
    login = "alice" if door.role == "submission" else None
    source = f"127.9.{number // 200 % 250}.{number % 200}"
    script = Script(0, number, door, tls, name, login, source)
    script.plan = plans.Plan(f"steady/{number}", refusals=0, noise=0)
    tag = b"%d-1" % number
    steps = [b"EHLO " + name + b"\r\n"]
    if login:
        steps.append(b"AUTH PLAIN " + base64.b64encode(b"\0alice\0secret") + b"\r\n")
    steps += [b"MAIL FROM:<%s@client.example>\r\nRCPT TO:<%s@example.org>\r\nDATA\r\n" % (tag, tag),
              b"Subject: steady\r\n\r\nMAIL FROM:<a@b.example>\r\n.\r\n", b"QUIT\r\n"]
    for step in steps:
        script.steps += [("send", step, ()), ("sync",)]
    script.steps.append(("end", "quit"))
    return script
