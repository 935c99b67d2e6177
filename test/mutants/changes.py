"""All single changes of a C file: one operator, one bound or one return value.

The file is read as tokens, without comments, strings and preprocessor lines. clang-format puts
blanks on both sides of a binary operator and on one side at most of a unary one, and begins and
ends each function with a brace in the first column: both tell here what a token is.
"""

import dataclasses
import re

_OPERATORS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
    "+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "&": "|", "|": "&", "^": "|", "<<": ">>",
    ">>": "<<", "+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=",
}
_BINARY = re.compile(r"(?<= )(?:<<|>>|[<>=!]=|&&|\|\||[-+|&]=|[-<>+*/%&|^])(?=[ \n])")
_STEP = re.compile(r"\+\+|--")
_NOT = re.compile(r"!(?=[\w(])")
_NUMBER = re.compile(r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)(?=[uUlL]*\b)(?!\.)")
#: A character that a range begins or ends with.
_BOUND = re.compile(r"(?<=[<>] )'[ -~]'|(?<=[<>]= )'[ -~]'|'[ -~]'(?= [<>]=? )")
#: A little more room is nothing that a test could see.
_ROOM = re.compile(r"\b(?:char|int|unsigned|u?int\d+_t|size_t|struct \w+) \w+\[$")
_RETURN = re.compile(r"\breturn ([^;]+);")
_NO_CODE = re.compile(r"""'"'|/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|^[ ]*\#(?:\\\n|[^\n])*""",
                      re.DOTALL | re.MULTILINE | re.VERBOSE)
#: What only the compiler looks at.
_ASSERTION = re.compile(r"\b_Static_assert\(.*?;", re.DOTALL)
_CHARACTER = re.compile(r"'(?:\\.[0-7xa-fA-F]*|[^'\\\n])'")
_FUNCTION = re.compile(r"^\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """`old` at `offset` of the file becomes `new`."""
    file: str
    offset: int
    old: str
    new: str
    place: str      # the function, or "" outside of all
    line: int
    before: str     # the line as it is, and as it becomes; without indentation
    after: str
    ordinal: int    # among equal changes of equal lines in one function

    @property
    def key(self):
        """Names it as long as its line is the same, wherever that goes in its function."""
        number = f" ({self.ordinal + 1})" if self.ordinal else ""
        return f"{self.file} {self.place or '-'}{number}\n- {self.before}\n+ {self.after}"

    def apply(self, text):
        assert text[self.offset:].startswith(self.old)
        return text[:self.offset] + self.new + text[self.offset + len(self.old):]


def _blank(match):
    if match[0] == "'\"'":
        return match[0]
    return re.sub(r"[^\n]", " ", match[0])


def _head(code, start):
    """(name, type) of the function whose brace is at `start`."""
    lines, end = [], start
    while end > 0:
        begin = code.rfind("\n", 0, end - 1) + 1
        line = code[begin:end]
        if not line.strip() or line[0] in "}#" or line.rstrip().endswith(";"):
            break
        lines.insert(0, line)
        end = begin
    head = " ".join("".join(lines).split())
    found = re.search(r"(\w+)\((?!\()", re.sub(r"\b[A-Z_]{3,}\([^)]*\)", "", head))
    if not found:
        return "", ""
    return found[1], head[:head.find(found[1] + "(")].strip()


def _returned(value, kind):
    """What is returned in place of `value`; None if nothing else makes sense."""
    if value in ("true", "false"):
        return "false" if value == "true" else "true"
    if kind.endswith("*"):
        return None if value == "NULL" else "NULL"
    if re.search(r"\bbool$", kind):
        return f"!({value})"
    if re.search(r"\b(int|unsigned|size_t|ssize_t|long|char|u?int\d+_t)$", kind):
        return f"({value}) + 1"
    return None


def _numbers(code, start, end):
    for found in _NUMBER.finditer(code, start, end):
        digits = found[1]
        value = int(digits, 8 if re.fullmatch(r"0[0-7]+", digits) else 0)
        room = _ROOM.search(code, code.rfind("\n", 0, found.start()) + 1, found.start())
        for other in (value - 1,) if room else (value + 1, value - 1):
            if other >= 0:
                shape = hex(other) if digits[:2] in ("0x", "0X") else str(other)
                yield found.start(1), digits, shape


def _inside(text, code, bare, start, end, kind):
    for found in _BINARY.finditer(bare, start, end):
        yield found.start(), found[0], _OPERATORS[found[0]]
    for found in _STEP.finditer(bare, start, end):
        yield found.start(), found[0], "--" if found[0] == "++" else "++"
    for found in _NOT.finditer(bare, start, end):
        yield found.start(), "!", ""
    for found in _BOUND.finditer(code, start, end):
        character = found[0][1]
        for other in (ord(character) + 1, ord(character) - 1):
            if not chr(other).isprintable():
                continue
            shape = chr(other).replace("\\", "\\\\").replace("'", "\\'")
            yield found.start(), found[0], f"'{shape}'"
    for found in _RETURN.finditer(bare, start, end):
        value = text[found.start(1):found.end(1)]
        new = _returned(value, kind)
        if new:
            yield found.start(1), value, new


def changes(file, text):
    """All mutants of one file, in its order."""
    code = _ASSERTION.sub(_blank, _NO_CODE.sub(_blank, text))
    bare = _CHARACTER.sub(lambda match: " " * len(match[0]), code)
    found, functions = [], []
    for function in _FUNCTION.finditer(bare):
        name, kind = _head(bare, function.start())
        functions.append((function.start(), function.end(), name))
        found += _inside(text, code, bare, function.start(), function.end(), kind)
    found += _numbers(bare, 0, len(bare))
    found += _constants(text)
    return _mutants(file, text, functions, sorted(set(found)))


def _constants(text):
    """Bounds that have a name, which is a preprocessor's."""
    for line in re.finditer(r"^#define \w+ .*$", text, re.MULTILINE):
        yield from _numbers(text, line.start(), line.end())


def _mutants(file, text, functions, found):
    made, seen = [], {}
    for offset, old, new in found:
        place = next((name for start, end, name in functions if start <= offset < end), "")
        begin, end = text.rfind("\n", 0, offset) + 1, text.find("\n", offset + len(old))
        before = text[begin:end]
        after = text[begin:offset] + new + text[offset + len(old):end]
        before, after = (" ".join(each.split()) for each in (before, after))
        same = (place, before, after)
        ordinal = seen[same] = seen.get(same, -1) + 1
        made.append(Mutant(file, offset, old, new, place, text.count("\n", 0, offset) + 1,
                           before, after, ordinal))
    return made
