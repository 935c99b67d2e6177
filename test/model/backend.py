"""The backend of the model: a mail server that answers by its plan and keeps what it was told.

opening.py brings a connection up to the client's EHLO or HELO; from there on everything is recorded
for the judge. What can be seen to be wrong while it happens (bytes where none may come) is noted
at once in `findings`.
"""

import asyncio
import random
import re

import faults
import plan as plans
from record import Gone, Seen, Slot
from replies import mark

GATE = b"X-Gate: wait here"
#: Seconds that a connection may last; more than all of Postern's own times (world.py).
LIMIT_S = 200

#: What one server or another takes for the end of a message.
_CREDULOUS_END = re.compile(rb"(?:\r\n|\n|\r)\.(?:\0?\r\n|\0?\n|\r)")
_STRICT_END = re.compile(rb"\r\n\.\r\n")

_ORDINARY = {"EHLO": 250, "HELO": 250, "MAIL": 250, "RCPT": 250, "DATA": 354, "message": 250,
             "chunk": 250, "RSET": 250, "NOOP": 250, "VRFY": 252, "EXPN": 250, "HELP": 214,
             "ETRN": 250, "QUIT": 221}
#: Commands whose refusal may end a transaction (plan.py, `forgets`).
FORGETTING = {"DATA", "MAIL", "RSET", "EHLO", "HELO"}
_REFUSED = (450, 451, 452, 500, 501, 503, 550, 552, 554)
#: Nothing may follow these before their reply has left, whatever is offered.
_ALONE = {"EHLO", "HELO", "DATA", "NOOP", "VRFY", "EXPN", "HELP", "ETRN", "QUIT",
          "message", "chunk"}


class Backend:
    """One connection, from the reply to the client's EHLO or HELO on."""

    def __init__(self, number, plan, wake):
        """`wake` is called when the client may go on after a gate."""
        self.number = number
        self._wake = wake
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.seen = []
        self.slots = []
        self.findings = []
        self.shifted = None     # from this slot on replies may answer other commands
        self.fault_done = False
        self.early = None       # the Seen whose message was answered in its middle
        self.offers = []        # keywords of each EHLO reply, by slot
        self.refused_opening = False
        self.ended = None       # how the connection ended
        self.finished = asyncio.Event()
        self.stream = None
        self.buffer = b""
        self.unsent = b""
        self._sending = asyncio.Lock()
        self.tasks = []
        self._mail = self._recipient = self._chunks = self._binary = False
        self._is_reading = False     # the last command was a chunk with something in it
        self._has_forgotten = False  # a command that was refused ended the transaction
        self._pipelining = True
        self._passed = 0
        self._after = None      # after this nothing may come

    def begin(self, is_ehlo):
        """The client's hello was accepted, and nothing else has been said."""
        keywords = list(self.plan.keywords) if is_ehlo else []
        self.slots.append(Slot(250, [], "hello", None))
        self.offers.append((0, keywords))
        self._pipelining = "PIPELINING" in keywords

    # bytes

    async def receive(self):
        """Waits for more bytes."""
        await self.flush()
        try:
            data = await self.stream.receive()
        except OSError as error:
            raise Gone(type(error).__name__) from error
        if not data:
            raise Gone("closed")
        if self._after:
            self._note(f"bytes after the end: after {self._after} {data[:80]!r}")
            raise Gone("bytes too many")
        self.buffer += data

    async def flush(self, whole=False):
        """Sends what was said; `whole`: in one write, whatever the style is."""
        async with self._sending:
            unsent, self.unsent = self.unsent, b""
            try:
                if unsent and self.plan.style == "split" and not whole:
                    await self._send_in_pieces(unsent)
                elif unsent:
                    await self.stream.send(unsent)
            except OSError as error:
                raise Gone(type(error).__name__) from error

    async def _send_in_pieces(self, data):
        cut = self.rng.randrange(len(data))
        for piece in (data[:cut], data[cut:]):
            await self.stream.send(piece)
            await asyncio.sleep(self.rng.choice((0, 0.001, 0.003)))

    def _note(self, text):
        self.findings.append(text)

    async def _line(self):
        while b"\n" not in self.buffer:
            await self.receive()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line[:-1] if line.endswith(b"\r") else line

    # replies

    def _lines(self, code, verb):
        """The lines of a reply with its mark."""
        rng, name = self.rng, mark(self.number, len(self.slots))
        count = rng.choice((2, 3, 6)) if rng.random() < 0.15 else 1
        texts = [b"%s %d of %d %s" % (verb.encode(), i + 1, count, name) for i in range(count)]
        if rng.random() < self.plan.noise:
            texts[-1] += rng.choice((b" \x1b[2J", b" \0", b"", b" 250 ok", b" " + b"y" * 700))
        return [b"%d%s%s" % (code, b" " if i + 1 == count else b"-", text)
                for i, text in enumerate(texts)]

    def say(self, code, verb, seen, lines=None):
        """Puts a reply into the queue; returns its slot."""
        lines = lines or self._lines(code, verb)
        end = b"\n" if self.rng.random() < self.plan.noise / 4 else b"\r\n"
        self.unsent += b"".join(line + end for line in lines)
        self.slots.append(Slot(code, lines, verb, seen))
        return len(self.slots) - 1

    def _decide(self, verb):
        """The code of an ordinary reply."""
        refused = self.rng.random() * 100 < plans.REFUSALS.get(verb, 0) * self.plan.refusals
        if verb == "RCPT" and not self._mail or verb == "BDAT":
            return 503
        if verb == "DATA" and (not self._recipient or self._chunks):
            return 503 if self.rng.random() < 0.9 or self._chunks else 354
        if verb == "MAIL" and self._mail and self.rng.random() < 0.9:
            return 503
        if refused:
            return self.rng.choice(_REFUSED)
        return _ORDINARY.get(verb, 500)

    def fault_for(self, verb):
        """The plan's fault if its turn has come at this reply."""
        fault = self.plan.fault
        if not fault or self.fault_done or fault.verb not in (None, verb):
            return None
        if fault.kind in ("early", "unread") or (fault.kind == "go_on" and verb == "DATA"):
            return None
        self._passed += 1
        if self._passed <= fault.skip:
            return None
        self.fault_done = True
        return fault

    async def quiet(self, verb):
        """Holds a reply back for a moment; nothing may come meanwhile where none may follow."""
        if self.rng.random() < self.plan.holds:
            await self.flush()
            await asyncio.sleep(self.rng.choice((0.001, 0.003, 0.01)))
            if verb in _ALONE or not self._pipelining:
                self.buffer += self.stream.receive_now()
        alone = verb in _ALONE or not self._pipelining
        if alone and self.buffer and self.shifted is None and not self.fault_done:
            self._note(f"bytes before a reply that had to be awaited: after {verb} "
                       f"{self.buffer[:80]!r}")

    async def answer(self, verb, seen):
        """Replies to a command, message or chunk; returns (slot, code), or (None, 0): none."""
        await self.quiet(verb)
        code = self._decide(verb)
        fault = self.fault_for(verb)
        if fault:
            return await faults.commit(self, fault, verb, seen, code)
        slot = self.ehlo(seen) if verb == "EHLO" and code == 250 else self.say(code, verb, seen)
        if self.plan.style != "joined":
            await self.flush()
        return slot, code

    def ehlo(self, seen):
        """The reply to EHLO that offers what the plan says."""
        keywords = list(self.plan.keywords)
        if self.rng.random() < 0.3:
            keywords = [each for each in keywords if self.rng.random() < 0.7]
        texts = [mark(self.number, len(self.slots)), *(each.encode() for each in keywords)]
        lines = [b"250%s%s" % (b" " if i + 1 == len(texts) else b"-", text)
                 for i, text in enumerate(texts)]
        self.offers.append((len(self.slots), keywords))
        self._pipelining = "PIPELINING" in keywords
        return self.say(250, "EHLO", seen, lines)

    # the conversation

    async def serve(self, stream, buffer):
        """From the hello on, whose reply has been said, to the end of the connection."""
        self.stream, self.buffer = stream, buffer
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    await self._command(Seen(await self._line()))
        except Gone as gone:
            self.ended = str(gone)
        except TimeoutError:
            self._note("the connection was left open")
            self.ended = "timeout"
        except OSError as error:
            self.ended = type(error).__name__
        finally:
            for task in self.tasks:
                task.cancel()
            stream.close()
            self.finished.set()

    async def _command(self, seen):
        self.seen.append(seen)
        if seen.verb == "BDAT":
            await self._take_chunk(seen)
            return
        self._is_reading = False
        seen.slot, code = await self.answer(seen.verb, seen)
        good = code // 100 == 2
        if seen.verb == "MAIL" and good:
            self._reset()
            self._mail = True
            self._binary = b"BODY=BINARYMIME" in seen.line.upper()
        elif seen.verb == "RCPT":
            self._recipient |= good
        elif seen.verb in ("RSET", "EHLO", "HELO") and good:
            self._reset()
            self._pipelining &= seen.verb != "HELO"
        elif seen.verb == "DATA" and code == 354:
            await self._take_message(seen)
        elif seen.verb == "QUIT" and good:
            await self.flush()
            raise Gone("quit")
        elif seen.verb in FORGETTING and self.plan.forgets:
            self._reset()
            self._has_forgotten = True

    def _reset(self):
        self._mail = self._recipient = self._chunks = self._binary = False
        self._is_reading = self._has_forgotten = False

    async def _take_message(self, seen):
        await self.flush()
        seen.body = b""
        if self.plan.deaf_ms:
            await asyncio.sleep(self.plan.deaf_ms / 1000)
        end = _CREDULOUS_END if self.plan.credulous else _STRICT_END
        while True:
            seen.body = self.buffer
            if self._is_due("message", seen):
                await faults.answer_early(self, seen)
            found = end.search(b"\r\n" + self.buffer)
            if found:
                break
            await self.receive()
        seen.body, self.buffer = self.buffer[:found.end() - 2], self.buffer[found.end() - 2:]
        seen.whole = True
        self._reset()
        seen.body_slot, _ = await self.answer("message", seen)

    async def _take_chunk(self, seen):
        match = re.fullmatch(rb"BDAT (\d+)( LAST)?", seen.line)
        if not match:
            self._note(f"BDAT that cannot be read: {seen.line!r}")
            raise Gone("BDAT")
        seen.size, seen.last = int(match[1]), bool(match[2])
        if not self._recipient:
            if self.shifted is None and not self._has_forgotten:
                self._note(f"BDAT without a recipient that was accepted: {seen.line!r}")
            await faults.leave_unread(self, seen, 503)
        if self._leaves_unread(seen):
            await faults.leave_unread(self, seen, self.plan.fault.code)
        seen.body, seen.binary, self._chunks = b"", self._binary, True
        self._is_reading |= seen.size > 0
        while len(self.buffer) < seen.size:
            seen.body = self.buffer
            if self._is_due("chunk", seen):
                await faults.answer_early(self, seen)
            await self.receive()
        seen.body, self.buffer = self.buffer[:seen.size], self.buffer[seen.size:]
        seen.whole = True
        if seen.last:
            self._reset()
        seen.slot, code = await self.answer("chunk", seen)
        seen.body_slot = seen.slot
        if code // 100 not in (0, 2):
            await self.nothing_after("a refused chunk")

    async def nothing_after(self, what):
        """From here on each byte that comes is a finding, unless replies may be shifted."""
        if self.shifted is not None:
            return
        await self.flush()
        if self.buffer:
            self._note(f"bytes after the end: after {what} {self.buffer[:80]!r}")
        self._after = what

    def _leaves_unread(self, seen):
        """Is this a first chunk, or one after another command, and the plan's fault to refuse it
        unread?"""
        fault = self.plan.fault
        if not fault or fault.kind != "unread" or self.fault_done or self._is_reading or \
                not seen.size:
            return False
        self._passed += 1
        self.fault_done = self._passed > fault.skip
        return self.fault_done

    def _is_due(self, verb, seen):
        """Is the plan's early reply due, after what has come of this message or chunk? Lets a
        client that waits at the gate go on if it is not."""
        fault = self.plan.fault
        is_early = fault and fault.kind == "early" and fault.verb == verb and not self.fault_done
        at_gate = GATE + b"\r\n" in seen.body
        is_place = at_gate if is_early and fault.gated else len(seen.body) > 40
        if is_early and is_place and not seen.counted:
            seen.counted = True
            self._passed += 1
            if self._passed > fault.skip:
                return True
        if at_gate and not seen.gate_open:
            seen.gate_open = True
            self._wake()
        return False
