"""The manual pages as lists: what they say of options. Read as they stand in the source."""

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
