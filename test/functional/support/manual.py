"""The manual pages as lists: what they say of options and of the log. Read as they stand in the
source."""

import functools
import pathlib
import re

ETC = pathlib.Path(__file__).parents[3] / "etc"
DAY = 86400


def page(name):
    return (ETC / f"{name}.in").read_text()


def section(text, title):
    """Of a page, by its .Sh."""
    return re.search(rf"^\.Sh {title}\n(.*?)(?=^\.Sh |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def words_of(macro, text):
    """What stands after a macro, punctuation left out, at the beginning of lines and of items."""
    lines = re.findall(rf"^\.(?:It )?{macro} (.*)$", text, re.MULTILINE)
    return [word for line in lines for word in line.split() if re.search(r"\w", word)]


class Option:
    """section, key, and what its paragraph says:

    default: as in a file, or None: it must be given
    bounds:  (lowest, highest) of a number or time, or None: nothing is said
    """

    def __init__(self, name, key, text, of_section):
        self.section, self.key, self.text = name, key, text
        plain = re.sub(r"\s+", " ", text.replace("\\\n", ""))
        default = re.search(r"Default: (.*?)\.(?: |$)(?=\.|$|[A-Z])", plain)
        self.default = default[1] if default else None
        self.bounds = self._bounds(plain) or of_section.get(key) or of_section.get("")
        self.choices = set(words_of("Ql", text))

    @staticmethod
    def _bounds(plain):
        number = r"(\d+|a day)"
        both = re.search(rf"[Ff]rom (\d+)(?: seconds?)? to {number}", plain)
        most = re.search(r"[Aa]t most (\d+)\.", plain)
        if both:
            return int(both[1]), DAY if both[2] == "a day" else int(both[2])
        return (0, int(most[1])) if most else None

    @property
    def is_number(self):
        return bool(re.fullmatch(r"\d+", self.default or ""))

    def __repr__(self):
        return f"{self.section}.{self.key}".lstrip(".")


def _of_section(introduction):
    """{key: bounds} that stand above the list of a section; "" for all of them."""
    plain = re.sub(r"\s+", " ", introduction)
    found = {}
    each = re.search(r"Each from (\d+) seconds? to a day", plain)
    if each:
        found[""] = (int(each[1]), DAY)
        for key in re.findall(r"\.Ic (\w+) may be 0", plain):
            found[key] = (0, DAY)
    return found


def options():
    """All of postern.conf(5)."""
    text = section(page("postern.conf.5"), "DESCRIPTION")
    pieces = re.split(r"^\.Ss (.*)\n", text, flags=re.MULTILINE)
    for title, body in zip(pieces[1::2], pieces[2::2]):
        introduction, *items = re.split(r"^\.It Ic (\w+)\n", body, flags=re.MULTILINE)
        of_section = _of_section(introduction)
        for key, said in zip(items[::2], items[1::2]):
            yield Option("" if title == "Top level" else title, key, said, of_section)


ROOT = ETC.parent
SOURCES = [path for part in ("proxy", "auth", "tls") for path in sorted((ROOT / part).glob("**/*.c"))]
#: Fields that a record of any event may have.
ORIGIN = {"time", "level", "pid", "process", "event", "cut"}


class Event:
    """fields: their names; values: {field: what it can say}, of those that have a list of it."""

    def __init__(self, text):
        self.fields, self.values, field = set(), {}, None
        for line in text.splitlines():
            macro = re.match(r"\.(?:It )?Cm (.*)", line)
            value = re.match(r"\.It Ql (.*)", line)
            if macro:
                words = [word for word in macro[1].split() if re.search(r"\w", word)]
                self.fields |= set(words)
                field = words[-1]
            elif value and field:
                self.values.setdefault(field, []).append(value[1])


def events():
    """{name: Event}, of postern(8)."""
    log = section(page("postern.8"), "LOG")
    pieces = re.split(r'^\.(?:Ss|It Li) event=\\\(dq(.*?)\\\(dq.*$', log, flags=re.MULTILINE)
    return {name: Event(re.split(r"^\.Ss ", text, flags=re.MULTILINE)[0])
            for name, text in zip(pieces[1::2], pieces[2::2])}


def pattern(value):
    """Three dots in a value of the page stand for what differs."""
    return re.compile(".*".join(map(re.escape, value.split("..."))), re.DOTALL)


def literals():
    """All texts of the program's source; those that stand side by side are one."""
    text = r'"(?:[^"\\\n]|\\.)*"'
    found = set()
    for path in SOURCES:
        for whole in re.findall(rf"{text}(?:\s*{text})*", path.read_text()):
            found.add("".join(each[1:-1] for each in re.findall(text, whole)).replace('\\"', '"'))
    return found


@functools.cache
def _knowledge():
    return events(), literals()


def check_record(record):
    """What a server has logged is on the page: its event, its fields, and the values of those that
    have a list there. How a session ended may also be OpenSSL's or the system's words, which are
    not in the source."""
    told, own = _knowledge()
    name = record.get("event")
    if name is None:
        return
    assert name in told, f"postern(8) has no event {name!r}"
    assert set(record) - ORIGIN <= told[name].fields, (name, set(record) - ORIGIN - told[name].fields)
    for field, values in told[name].values.items():
        value = str(record.get(field, values[0]))
        if field == "end":
            values = values + told["session refused"].values["cause"]
        known = any(pattern(each).fullmatch(value) for each in values)
        foreign = field == "end" and value not in own and not value.startswith("backend ")
        assert known or foreign, f"postern(8) has no {field}={value!r} in event {name!r}"
