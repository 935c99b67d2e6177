"""The examples that people copy, with what a test must have otherwise: ports and paths."""

import pathlib
import re

DIRECTORY = pathlib.Path(__file__).parents[3] / "etc/examples"


def text(path, changes):
    """The file, with each key of `changes` replaced by its value; each must be there."""
    found = (DIRECTORY / path).read_text()
    for old in changes:
        assert old in found, f"{old!r} is not in {path}"
    if not changes:
        return found
    # At once: what has been replaced is not looked at again.
    keys = "|".join(re.escape(old) for old in sorted(changes, key=len, reverse=True))
    return re.sub(keys, lambda match: str(changes[match[0]]), found)


def drop_in(name):
    """The one for systemd's unit that is in the example's directory."""
    return text(f"{name}/systemd.conf", {})
