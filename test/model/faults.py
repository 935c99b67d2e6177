"""The faults of a backend (plan.py has the list), each at its place among the replies."""

import asyncio

from record import Gone, Slot
from replies import mark

_LONG = b"x" * 5000


def _text(backend, code, what=b"fault", last=True):
    return b"%d%s%s %s" % (code, b" " if last else b"-", what,
                           mark(backend.number, len(backend.slots)))


async def _end(backend, how):
    """Ends the connection."""
    await backend.flush()
    if how == "reset":
        backend.stream.reset()
    raise Gone(f"fault: {how}")


async def _hang(backend):
    """Says nothing more, whatever comes."""
    while True:
        await backend.receive()


async def _surplus(backend, fault, verb, seen, code):
    slot = backend.say(code, verb, seen)
    backend.say(fault.code, "surplus", seen)
    backend.shifted = slot
    await backend.flush(whole=True)
    return slot, code


async def _missing(backend, _fault, _verb, _seen, code):
    backend.shifted = len(backend.slots)
    return None, code if code != 354 else 0


async def _silent(backend, _fault, _verb, _seen, _code):
    await _hang(backend)


async def _close(backend, fault, _verb, _seen, _code):
    await _end(backend, fault.kind)


async def _half(backend, fault, verb, seen, _code):
    backend.unsent += _text(backend, fault.code, b"half", last=False) + b"\r\n"
    backend.slots.append(Slot(fault.code, [], verb, seen))
    then = fault.then
    if then in ("close", "reset"):
        await _end(backend, then)
    if then == "421":
        backend.unsent += b"421 4.3.2 and goodbye\r\n"
    elif then == "garbage":
        backend.unsent += b"what was that?\r\n"
    elif then == "long":
        backend.unsent += b"%d-" % fault.code + _LONG
    await _hang(backend)


async def _garbage(backend, _fault, _verb, _seen, _code):
    backend.unsent += backend.rng.choice((b"hello\r\n", b"\r\n", b"\n", b"25 Ok\r\n",
                                           b"2500 Ok\r\n", b"199 Ok\r\n", b"\0\0\0\0\r\n",
                                           b"600 Ok\r\n"))
    await _hang(backend)


async def _two(backend, fault, _verb, _seen, _code):
    backend.unsent += _text(backend, 250, b"one", last=False) + b"\r\n550 another\r\n"
    await _hang(backend)


async def _long(backend, _fault, _verb, _seen, _code):
    backend.unsent += b"250 " + _LONG
    await _hang(backend)


async def _with_code(backend, fault, verb, seen, _code):
    """A reply whose code is out of place; what follows in the connection is read as commands."""
    slot = backend.say(fault.code, verb, seen)
    await backend.flush()
    if seen.verb == "BDAT":
        await backend.nothing_after("a chunk that was answered with %d" % fault.code)
    return slot, fault.code if fault.code != 354 else 0


async def _bye(backend, fault, verb, seen, _code):
    slot = backend.say(421, verb, seen)
    if fault.then == "close":
        await _end(backend, "421")
    await backend.flush()
    return slot, 421


async def _speak_later(backend, fault, seen):
    await asyncio.sleep(backend.rng.choice((0.001, 0.005, 0.02)))
    try:
        backend.say(fault.code, "unasked", seen)
        await backend.flush()
    except Gone:
        return
    if fault.then == "close":
        backend.stream.end_sending()


async def _later(backend, fault, verb, seen, code):
    slot = backend.say(code, verb, seen)
    backend.shifted = len(backend.slots)
    await backend.flush()
    backend.tasks.append(asyncio.ensure_future(_speak_later(backend, fault, seen)))
    return slot, code


async def leave_unread(backend, seen, code):
    """Refuses a chunk without reading it: all that comes after it would be commands. The chunk
    itself may be here, as it is sent together with its BDAT; nothing else may."""
    seen.slot = seen.body_slot = backend.say(code, "BDAT", seen)
    await backend.flush()
    while len(backend.buffer) < seen.size:
        await backend.receive()
    backend.buffer = backend.buffer[seen.size:]
    await backend.nothing_after("a chunk that was refused unread")
    await _hang(backend)


async def answer_early(backend, seen):
    """Replies in the middle of a message or chunk; the rest is read and forgotten."""
    fault = backend.plan.fault
    backend.fault_done, backend.early, backend.buffer = True, seen, b""
    lines = [_text(backend, fault.code, b"early", last) for last in (not fault.torn, True)]
    seen.body_slot = backend.say(fault.code, "early", seen, lines if fault.torn else lines[1:])
    if seen.verb == "BDAT":
        seen.slot = seen.body_slot
    if fault.torn:
        await _halt_after_first_line(backend)
    await backend.flush(whole=fault.torn)
    if fault.then == "close":
        raise Gone("closed after an early reply")
    if fault.gated:
        await backend.nothing_after(f"an early {fault.code}")
    await _hang(backend)


async def _halt_after_first_line(backend):
    """A client at its gate goes on after the first line. Nothing of that may come here."""
    first, end, backend.unsent = backend.unsent.partition(b"\n")
    rest, backend.unsent = backend.unsent, first + end
    await backend.flush(whole=True)
    await asyncio.sleep(0.05)
    arrived = backend.stream.receive_now()
    if arrived and backend.plan.fault.gated and backend.shifted is None:
        backend.findings.append(f"bytes after the first line of a refusal: {arrived[:80]!r}")
    backend.unsent = rest


_HANDLERS = {
    "surplus": _surplus, "missing": _missing, "hang": _silent, "close": _close, "reset": _close,
    "half": _half, "garbage": _garbage, "two": _two, "long": _long, "go_on": _with_code,
    "bye": _bye, "bye_later": _later, "later": _later, "too_good": _with_code, "odd_go": _with_code,
}


async def commit(backend, fault, verb, seen, code):
    """What Backend.answer() does instead of an ordinary reply."""
    return await _HANDLERS[fault.kind](backend, fault, verb, seen, code)
