"""Did each message and chunk come to the backend whole, unchanged and from its place?"""

import message


def _check_field(match, session):
    """What is wrong with Postern's own field; None: nothing."""
    script = session.script
    if match["address"] != script.source.encode():
        return f"our field has the address {match['address']!r}"
    if not script.is_own_name(match["helo"]):
        return f"our field has the name {match['helo']!r}"
    if match["login"] != (script.login.encode() if script.login else None):
        return f"our field has the login {match['login']!r}"
    return None


def _content_fault(body, expected, session):
    """A whole message at the backend against the client's bytes, repaired."""
    if not session.script.door.trace:
        return None if body == expected else "the message is not the client's"
    match, rest = message.split_field(body)
    if not match:
        return "our field is missing"
    return _check_field(match, session) or message.separation_fault(rest, expected)


def _is_beginning(body, expected, session):
    """The same for a part of a message."""
    if session.script.door.trace:
        match, rest = message.split_field(body)
        if not match:
            return True
        return expected.startswith(rest) or (b"\r\n" + expected).startswith(rest)
    return expected.startswith(body)


def _judge_data(session, exchange, seen, found):
    """The message after a DATA."""
    data = exchange.data
    expected = message.repair(data.raw) if data else b""
    if seen.whole:
        if not data or not data.whole:
            found("a message that the client did not end was ended")
        elif session.script.door.bare == "reject" and message.is_bare(data.raw):
            found("a message with bare line ends was not refused")
        else:
            fault = _content_fault(seen.body, expected, session)
            if fault:
                found(f"{fault}: {seen.body[:400]!r} of {expected[:200]!r}")
    elif session.backend.shifted is None and not _is_beginning(seen.body, expected, session):
        found(f"the beginning of a message is not the client's: {seen.body[-200:]!r}")


class Chunks:
    """The chunks of one message at the backend, in order."""

    def __init__(self, session, found):
        self._session, self._found = session, found
        self.reset()

    def reset(self):
        self._body = self._said = b""
        self._announced = False

    def announce(self, mail):
        """The MAIL of the next message. Whether a backend with one reply too many agreed to its
        BODY=BINARYMIME, nobody can know."""
        shifted = self._session.backend.shifted is not None
        self._announced = shifted and b"BODY=BINARYMIME" in mail.line.upper()

    def take(self, exchange, seen):
        """A chunk that the backend has read; returns whether it completes the message whole."""
        if seen.body is None:
            if not seen.is_opening and exchange.size > 1 and self._session.backend.shifted is None:
                self._found(f"a chunk was sent to a backend that may leave it unread: {seen}")
            return False
        self._body += seen.content
        self._said += exchange.raw
        self._check_opening(seen if seen.is_opening else seen.opening)
        if not seen.whole or seen.is_opening:
            self._check_part(seen)
            return False
        if not exchange.whole:
            self._found("a chunk that the client did not end was ended")
            return False
        if not seen.binary and not self._announced and self._is_bare(seen):
            self._found(f"a chunk with bare line ends was passed on: {seen.body[:200]!r}")
        fault = None
        if seen.last:
            fault = _content_fault(self._body, self._said, self._session)
        else:
            self._check_part(seen)
        if fault:
            self._found(f"{fault}: {self._body[:400]!r} of {self._said[:200]!r} in chunks")
        return seen.last and not fault

    def _check_opening(self, opening):
        """It must hold no line that could be a command of the client's."""
        if not opening or not opening.whole:
            return
        is_right = self._session.script.door.trace and message.is_opening(opening.body)
        if not is_right and len(opening.body) != 1:
            self._found(f"an opening with more than it may have: {opening.body!r}")

    def _is_bare(self, seen):
        body = self._body
        return message.is_bare(body[:-1] if body.endswith(b"\r") and not seen.last else body)

    def _check_part(self, seen):
        if not _is_beginning(self._body, self._said, self._session):
            self._found(f"a chunk is not the client's: {seen.body[:200]!r}")


def judge(session, aligned, found):
    """All messages; `aligned` is {exchange: Seen} in order. Returns the Seens that are the end of a
    message that came whole."""
    chunks, whole = Chunks(session, found), set()
    for exchange, seen in aligned.items():
        if seen.verb in ("MAIL", "RSET", "EHLO", "HELO", "DATA") and \
                exchange.reply and exchange.reply.code // 100 in (2, 3):
            chunks.reset()
        if seen.verb == "MAIL":
            chunks.announce(exchange)
        if seen.verb == "DATA" and seen.body is not None:
            _judge_data(session, exchange, seen, found)
            if seen.whole and exchange.data and exchange.data.whole:
                whole.add(seen)
        elif seen.verb == "BDAT":
            if chunks.take(exchange, seen):
                whole.add(seen)
            if seen.last:
                chunks.reset()
    return whole
