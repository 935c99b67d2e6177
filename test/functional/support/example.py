"""The examples that people copy, with what a test must have otherwise: ports and paths."""

import pathlib

DIRECTORY = pathlib.Path(__file__).parents[3] / "etc/examples"


def text(path, changes):
    """The file, with each key of `changes` replaced by its value; each must be there."""
    found = (DIRECTORY / path).read_text()
    for old, new in changes.items():
        assert old in found, f"{old!r} is not in {path}"
        found = found.replace(old, str(new))
    return found
