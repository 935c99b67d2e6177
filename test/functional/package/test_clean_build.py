"""The Debian package, built by our own words where nothing is installed but what they name."""

import os
import re
import shutil

import pytest

from support import debian, typed

CONTROL = typed.ROOT / "etc/debian/control"
#: Seconds. A mirror that is slower is none.
DOWNLOAD, BUILD = 600, 900
UNREACHABLE = re.compile("Temporary failure resolving|Could not (resolve|connect)|Failed to fetch"
                         "|Unable to connect|no archive of Debian's")

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make a Debian of its own")


def reached(make):
    """What needs a mirror of Debian's; without one the test is skipped."""
    try:
        return make()
    except AssertionError as failed:
        if UNREACHABLE.search(str(failed)):
            pytest.skip(f"no mirror of Debian's can be reached: {str(failed)[-300:]}")
        raise


def with_source(directory, of=None):
    """A Debian in a directory, with this checkout in its /source."""
    made = debian.Debian(directory, of)
    shutil.copytree(typed.ROOT, made.root / "source", symlinks=True,
                    ignore=shutil.ignore_patterns(".git", "build*", ".cache", "__pycache__"))
    shutil.copytree(typed.ROOT / "etc/debian", made.root / "source/etc/debian", dirs_exist_ok=True)
    return made


def build(tree):
    return tree.run("sh", "/source/etc/debian/build", "/out", check=False, timeout=BUILD)


@pytest.fixture(scope="module")
def lines(work):
    """What it says in the smallest Debian: the words to type."""
    tree = reached(lambda: with_source(work / "bare"))
    try:
        said = build(tree)
    finally:
        tree.close()
        shutil.rmtree(tree.root)
    assert said.returncode == 1, said.stdout + said.stderr
    assert "packages that the build needs are missing" in said.stderr
    (line,) = re.findall(r"as root:\n +(.*)\n", said.stderr)
    return line


def test_the_words_that_it_says_are_enough_to_build_it(work, lines):
    """Nothing else is installed; its own tests run in there, and none is left out."""
    def prepare(tree):
        (tree.root / "out/postern-0.1.0/debian").mkdir(parents=True)
        shutil.copy(CONTROL, tree.root / "out/postern-0.1.0/debian")
        assert "/out/postern-0.1.0" in lines
        tree.run("sh", "-ec", lines, timeout=DOWNLOAD)
        shutil.rmtree(tree.root / "out")
    kept = reached(lambda: debian.prepared("build", lines + CONTROL.read_text(), prepare))
    tree = with_source(work / "building", kept)
    try:
        said = build(tree)
        assert said.returncode == 0, said.stdout[-4000:] + said.stderr[-2000:]
        assert list((tree.root / "out").glob("postern_*.deb"))
        ran = dict(re.findall(r"^(Ok|Fail|Skipped|Timeout): +(\d+)", said.stdout, re.MULTILINE))
        assert int(ran["Ok"]) > 60 and {ran["Fail"], ran["Skipped"], ran["Timeout"]} == {"0"}
    finally:
        tree.close()
        shutil.rmtree(tree.root)
