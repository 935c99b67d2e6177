"""A strict reader of Postern's log: what is not exactly one well-formed record is an error."""

import json
import re

# key=word or key="…", separated by one space.
_FIELD = re.compile(r'([a-z][a-z0-9_]*)=(?:"((?:[^"\\\x00-\x1f\x7f]|\\.)*)"|([^\s"=\\\x00-\x1f\x7f]*))')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_NAMED = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


class Malformed(AssertionError):
    pass


def _unescape(match):
    byte, character, long, named = match.groups()
    if byte:
        return chr(int(byte, 16))
    if character or long:
        return chr(int(character or long, 16))
    if named not in _NAMED:
        raise Malformed(f"unknown escape: {match.group()!r}")
    return _NAMED[named]


def parse(line):
    """One line, without its line end, as a dictionary of strings."""
    record, position = {}, 0
    while position < len(line):
        match = _FIELD.match(line, position)
        if not match:
            raise Malformed(f"not logfmt at {position}: {line!r}")
        key, quoted, word = match.groups()
        if key in record:
            raise Malformed(f"{key} twice: {line!r}")
        record[key] = _ESCAPE.sub(_unescape, quoted) if quoted is not None else word
        position = match.end()
        if position < len(line):
            if line[position] != " " or position + 1 == len(line):
                raise Malformed(f"not logfmt at {position}: {line!r}")
            position += 1
    if "event" not in record and "msg" not in record:
        raise Malformed(f"neither event nor msg: {line!r}")
    return record


def parse_json(line):
    """The same for log { format = "json" }."""
    def once(pairs):
        if len({key for key, _ in pairs}) != len(pairs):
            raise Malformed(f"a key twice: {line!r}")
        return dict(pairs)
    record = json.loads(line, object_pairs_hook=once)
    if not isinstance(record, dict):
        raise Malformed(f"not an object: {line!r}")
    return record
