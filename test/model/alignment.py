"""Which command of the client's each command at the backend was, and what was changed on the way.

Postern changes MAIL (AUTH=, parameters of withheld extensions), RCPT (the same parameters), BDAT,
and names after EHLO and HELO that are none. It leaves out blanks that do not belong where they are.
All else is passed on byte for byte.

Before the first chunk of a message that has something in it Postern sends an opening, a chunk of
its own: its Received field, or else the first byte of the client's chunk. So it does with that
byte when there was another command since the last chunk. The backend has read two chunks then, and
the client said one.
"""

import re

#: Parameters that are left out towards a backend that does not offer their extension.
_DISPENSABLE = re.compile(rb"(SIZE|RET|ENVID|NOTIFY|ORCPT|MT-PRIORITY)(=.*)?\Z|BODY=7BIT\Z", re.I)
#: How long Postern's own field may be, with an empty line after it.
_FIELD_SIZES = range(120, 700)
_AUTH = re.compile(rb"AUTH(=.*)?\Z", re.I)


def xtext(text):
    """A login as AUTH= has it (RFC 3461 section 4)."""
    return b"".join(b"+%02X" % byte if byte < 33 or byte > 126 or byte in b"+=\"()<>\\" else
                    bytes([byte]) for byte in text.encode())


def _is_left_out(said, seen):
    """Is `seen` the words of `said` without some that may be left out?"""
    at = 0
    for word in said:
        if at < len(seen) and seen[at] == word:
            at += 1
        elif not _DISPENSABLE.match(word) and not _AUTH.match(word):
            return False
    return at == len(seen)


#: A path, with the blanks that may stand about it, and the parameters.
_ENVELOPE = re.compile(
    rb'(FROM:|TO:) *(?:< *((?:[^<>" \\]|"(?:[^<>"\\]|\\[^<>])*")*) *>|([^<>" \\]+))((?: [^\t]*)?)\Z',
    re.I)


def form_of(line):
    """A command as Postern writes it, but for parameters and AUTH=."""
    verb, _, arguments = line.partition(b" ")
    arguments = arguments.lstrip(b" ").rstrip(b" \t")
    if verb.upper() in (b"EHLO", b"HELO"):
        arguments = re.sub(rb"[^!-~]", b"?", arguments)
    match = _ENVELOPE.match(arguments) if verb.upper() in (b"MAIL", b"RCPT") else None
    if match and b"\t" not in arguments:
        word, path, bare, rest = match.groups()
        arguments = b" ".join([word + (bare or b"<%s>" % path),
                               *(each for each in rest.split(b" ") if each)])
    return verb + (b" " + arguments if arguments else b"")


def _same_mail(said, seen, own_auth):
    if own_auth:
        if not seen.endswith(own_auth):
            return False
        seen = seen[:-len(own_auth)]
    said, seen = said.split(), seen.split()
    return said[0].upper() == seen[0] and _is_left_out(said[1:], seen[1:])


def is_same(exchange, seen, own_auth):
    """Can the backend's command be this one of the client's?"""
    if exchange.kind != "line" or exchange.verb != seen.verb:
        return False
    said = form_of(exchange.line)
    if seen.verb == "MAIL":
        return _same_mail(said, seen.line, own_auth)
    if seen.verb == "RCPT":
        return said == seen.line or (said[:5].upper() == seen.line[:5]
                                     and _is_left_out(said.split(), seen.line.split()))
    return said == seen.line


def _choose(candidates, backend, seen):
    """The command whose reply is the one that was given here, or one that may be it."""
    for exchange in candidates:
        slot = exchange.reply.slot if exchange.reply else None
        is_sure = slot is not None and (backend.shifted is None or slot < backend.shifted)
        if is_sure and slot < len(backend.slots) and backend.slots[slot].seen is seen:
            return exchange
    for exchange in candidates:
        reply = exchange.reply
        if not reply or not reply.is_own or reply.code == 421 or exchange.verb == "EHLO" or \
                (exchange.verb == "BDAT" and reply.code != 503):
            return exchange
    return candidates[0] if candidates else None


class Alignment:
    """`trace`: does Postern add its own field? The result is `aligned`, {exchange: Seen}, and
    `stray`, the first Seen that is no command of the client's, or None."""

    def __init__(self, exchanges, backend, own_auth, trace):
        self._exchanges, self._backend = exchanges, backend
        self._own_auth, self._trace = own_auth, trace
        self._at = 0            # the first exchange that may come next
        self._has_begun = False  # the backend has read something of a message in chunks
        self._is_reading = False  # … and no other command since
        self._opened = None     # the exchange whose opening was the last chunk
        self.aligned, self.stray = {}, None
        for seen in backend.seen:
            if not self._take(seen):
                self.stray = seen
                break

    def _take(self, seen):
        if seen.verb == "BDAT":
            return self._take_chunk(seen)
        chosen = self._find(seen, lambda each: is_same(each, seen, self._own_auth))
        if chosen is None:
            return False
        self._is_reading = False
        is_good = chosen.reply and chosen.reply.code // 100 == 2
        if seen.verb in ("MAIL", "RSET", "EHLO", "HELO") and is_good:
            self._has_begun = False
        return True

    def _find(self, seen, fits):
        """Chooses the exchange and notes it; returns it, or None."""
        chosen = _choose([each for each in self._exchanges[self._at:] if fits(each)],
                         self._backend, seen)
        if chosen is not None:
            self.aligned[chosen] = seen
            self._at = self._exchanges.index(chosen, self._at) + 1
        return chosen

    def _take_chunk(self, seen):
        match = re.fullmatch(rb"BDAT (\d+)( LAST)?", seen.line)
        seen.size, seen.last = (int(match[1]), bool(match[2])) if match else (-1, False)
        seen.opening, seen.is_opening = None, False
        if self._opened:
            return self._take_rest(seen)
        chosen = self._find(seen, lambda each: self._may_be_chunk(each, seen))
        if chosen is None:
            return False
        if self._needs_opening(chosen):
            seen.is_opening = True
            self._opened = chosen
        else:
            self._note_read(seen)
        return True

    def _note_read(self, seen):
        self._has_begun = not seen.last and (self._has_begun or seen.size > 0)
        self._is_reading = not seen.last and (self._is_reading or seen.size > 0)

    def _take_rest(self, seen):
        """After an opening nothing but the rest of the same chunk may come."""
        exchange, self._opened = self._opened, None
        seen.opening = self.aligned[exchange]
        ahead = 0 if self._adds_field else 1
        self.aligned[exchange] = seen
        self._has_begun = self._is_reading = not seen.last
        return seen.size == exchange.size - ahead and seen.last == exchange.last

    @property
    def _adds_field(self):
        return self._trace and not self._has_begun

    def _needs_opening(self, exchange):
        return not self._is_reading and exchange.size > (0 if self._adds_field else 1)

    def _may_be_chunk(self, exchange, seen):
        if exchange.kind != "line" or exchange.verb != "BDAT" or exchange.size is None:
            return False
        if self._needs_opening(exchange):
            is_right = seen.size in _FIELD_SIZES if self._adds_field else seen.size == 1
            return is_right and not seen.last
        if self._adds_field and exchange.size == 0 and exchange.last:
            return seen.last and seen.size in _FIELD_SIZES
        return seen.last == exchange.last and seen.size == exchange.size
