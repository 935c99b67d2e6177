"""What the pages of Markdown show, and the manual's."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[3]


def blocks(path):
    """What stands indented in Markdown, without that indent."""
    return blocks_of((ROOT / path).read_text())


def blocks_of(text):
    text = re.sub(r"^- ", "  ", text, flags=re.MULTILINE)
    for block in re.findall(r"(?:^ {4}.*\n|(?<=\n)\n(?= {4}))+", text, re.MULTILINE):
        block = block.lstrip("\n")
        indent = min(len(line) - len(line.lstrip()) for line in block.splitlines() if line.strip())
        yield "".join(line[indent:] + "\n" for line in block.splitlines())


def block(path, containing):
    """The only one with these words."""
    (found,) = [each for each in blocks(path) if containing in each]
    return found


def displays_of(text):
    """What a page of the manual displays as it stands."""
    return re.findall(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", text, re.MULTILINE)


def displays(path):
    """The same of a file, as a reader sees it."""
    text = (ROOT / path).read_text().replace("@sysconfdir@", "/etc")
    return [display.replace("\\e", "\\") for display in displays_of(text)]
