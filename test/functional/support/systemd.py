"""The systemd unit and its drop-ins, as the manual and the examples show them, and what they leave
of root's rights, as a command."""

import pathlib
import re

ETC = pathlib.Path(__file__).parents[3] / "etc"
UNIT = (ETC / "postern.service.in").read_text()


def values(text, key):
    return [word for line in re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
            for word in line.split()]


def drop_in(*headings):
    """Those parts of the manual's drop-in whose comments begin like that."""
    found = re.search(r"^\[Service\]\n(.*?)^\.Ed$", (ETC / "postern.8.in").read_text(),
                      re.MULTILINE | re.DOTALL)[1]
    parts = re.findall(r"((?:^#.*\n)+)((?:^[^#].*\n)+)", found, re.MULTILINE)
    return "".join(lines for heading in headings
                   for lines in [_only(lines for comment, lines in parts
                                       if comment.startswith(f"# {heading}"))])


def _only(found):
    (one,) = found
    return one


def rights(*drop_ins):
    """A command that leaves the next one no more rights than the unit with these drop-ins."""
    text = "\n".join((UNIT, *drop_ins))
    names = [name.removeprefix("CAP_").lower() for name in values(text, "CapabilityBoundingSet")]
    assert names and not any(name.startswith("~") for name in names)
    nothing_new = values(text, "NoNewPrivileges")[-1] == "yes"
    return ["setpriv", *(["--no-new-privs"] if nothing_new else []), "--inh-caps=-all",
            "--bounding-set=-all," + ",".join(f"+{name}" for name in names)]
