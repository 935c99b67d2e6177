"""What the pages name is there: tests, files, options. Who follows a page finds what it speaks of."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "etc/examples").glob("*/README.md"))]


def name_of(page):
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@every_page
def test_tests_that_a_page_names_exist(page):
    tests = "\n".join(path.read_text() for path in (ROOT / "test/functional").glob("**/test_*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text()):
        assert re.search(rf"^def {name}\(", tests, re.MULTILINE), name


@every_page
def test_files_that_a_page_names_exist(page):
    for name in re.findall(r"`((?:etc|test|proxy|tls|auth)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_each_example_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for page in PAGES[1:]:
        for directory in {path.parent for path in page.parent.glob("**/postern.conf")} or \
                {page.parent}:
            name = directory.relative_to(ROOT / "etc/examples")
            assert f"| `{name}` |" in readme or f"etc/examples/{name}" in readme, name


def test_all_kinds_of_tests_are_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    kinds = {path.name for path in (ROOT / "test").iterdir()} - {"meson.build"}
    assert len(kinds) >= 6
    for name in kinds:
        assert re.search(rf"`(test/)?{name}(/|/run|`)", readme) or f"sh test/{name} " in readme, name
