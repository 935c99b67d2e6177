"""What becomes of a message on its way through Postern, as postern.conf(5) says it.

Written from the manual and RFC 5321, and on purpose not like proxy/smtp/data.c.
"""

import re

END = b"\r\n.\r\n"
_LINE_END = re.compile(rb"(\r\n|\n)")
#: A line end or NUL that has to be repaired.
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)|\0")

_BLANK = rb"(?:\x20|\r\n\t)"
_FIELD = re.compile(
    rb"Received: from" + _BLANK + rb"(?P<helo>[^ \r\n]+)" + _BLANK
    + rb"\(\[(?P<address>[^ \r\n]+)\]\)"
    rb"\r\n\tby" + _BLANK + rb"mail\.example\.org" + _BLANK + rb"with" + _BLANK
    + rb"(?P<protocol>E?SMTPS?A?)(?:" + _BLANK + rb"\((?P<tls>TLS[^ \r\n]+)\))?"
    rb"(?:" + _BLANK + rb"\(authenticated as (?P<login>[^ \r\n]+)\))?"
    + _BLANK + rb"id (?P<id>[^ \r\n]+);" + _BLANK
    + rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n")

#: A first line that may become a part of the field above it, for one server or another: a blank or
#: a control character, or a dot (which a server takes away) with one of these after it.
_CONTINUES = re.compile(rb"\.?[\x00-\x20\x7f]")
#: A first line before which an additional empty line does no harm and helps nobody.
_DOUBTFUL = re.compile(rb"[\x00-\x20.:\x7f-\xff]|\Z")


def find_end(raw):
    """The length of a message with its end; -1 if the end has not come. `raw` follows 354."""
    found = (b"\r\n" + raw).find(END)
    return found + len(END) - 2 if found >= 0 else -1


def is_bare(raw):
    """Is there a bare CR, a bare LF or a NUL?"""
    return bool(_BARE.search(raw))


def _repair_line(text, is_soft, end):
    if text.startswith(b".") and (is_soft or (text == b"." and end == b"\n")):
        text = b"." + text
    return text.replace(b"\r", b" ").replace(b"\0", b" ") + (b"\r\n" if end else b"")


def repair(raw):
    """The bytes that a backend gets for these of the client, dots stuffed as they were."""
    pieces = _LINE_END.split(raw)
    repaired, is_soft = [], False
    for text, end in zip(pieces[::2], pieces[1::2] + [b""]):
        repaired.append(_repair_line(text, is_soft, end))
        is_soft = end == b"\n"
    return b"".join(repaired)


def split_field(body):
    """(match of Postern's own Received field or None, the bytes after it)."""
    match = _FIELD.match(body)
    return match, body[match.end():] if match else body


def is_opening(body):
    """Are these bytes Postern's own field, and perhaps an empty line?"""
    return split_field(body)[0] is not None and split_field(body)[1] in (b"", b"\r\n")


def separation_fault(rest, message):
    """What is wrong with what stands between our field and the client's bytes; None: nothing.

    `rest` follows the field, `message` is what the client sent, repaired."""
    is_separated = rest == b"\r\n" + message
    if not is_separated and rest != message:
        return "the bytes after our field are not the client's"
    if is_separated and not _DOUBTFUL.match(message):
        return "an empty line was added for no reason"
    if not is_separated and _CONTINUES.match(message) and not message.startswith(b"\r\n"):
        return "the first line continues our field"
    return None
