"""What the pages name is there: tests, files, links, pictures, packages, fields of the log. Whoever
follows a page finds what it names."""

import pathlib
import re
import xml.etree.ElementTree

import pytest

from support import logfmt, pages, typed
from support.client import b64
from test_commands import PACKAGES, PACKAGING

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "etc/guides").glob("*.md"))
EXAMPLES = sorted((ROOT / "etc/examples").glob("*/README.md"))
PAGES = [README, *GUIDES, *EXAMPLES, ROOT / "etc/monitoring/README.md"]


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
    """Those that begin with a dot are the reader's to make."""
    for name in re.findall(r"`((?:etc|test|proxy|tls|auth)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists() or pathlib.Path(name).name.startswith("."), name


def anchors(page):
    """Of its headings, as they are made from Markdown."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}


@every_page
def test_links_of_a_page_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_is_read_in_six_minutes():
    """At 220 words a minute."""
    words = len(README.read_text().split())
    assert words <= 6 * 220, words


def test_readme_leads_to_every_guide():
    links = re.findall(r"\]\(([^)#]+)", README.read_text())
    assert {name_of(page) for page in GUIDES} <= set(links)


def test_each_example_is_in_the_page_about_mail_servers():
    text = (ROOT / "etc/guides/other-servers.md").read_text()
    for page in EXAMPLES:
        for directory in {path.parent for path in page.parent.glob("**/postern.conf")} or \
                {page.parent}:
            name = directory.relative_to(ROOT / "etc/examples")
            assert f"| `{name}` |" in text or f"etc/examples/{name}" in text, name


def test_all_kinds_of_tests_are_in_the_page_about_tests():
    text = (ROOT / "etc/guides/testing.md").read_text()
    kinds = {path.name for path in (ROOT / "test").iterdir()} - {"meson.build"}
    assert len(kinds) >= 6
    for name in kinds:
        assert re.search(rf"`(test/)?{name}(/|/run|`)", text) or f"sh test/{name}\n" in text, name


def test_all_folders_of_the_source_are_in_the_page_about_them():
    """The folders that hold C files, and what is at the top."""
    text = (ROOT / "etc/guides/architecture.md").read_text()
    folders = {path.parent for path in ROOT.glob("*/**/*.c") if path.relative_to(ROOT).parts[0]
               in ("auth", "proxy", "tls")} | {ROOT / "etc", ROOT / "test"}
    assert len(folders) >= 7
    for folder in folders:
        assert f"| `{name_of(folder)}/` |" in text, folder


def test_dark_picture_says_what_the_light_one_says():
    """They differ in colours alone."""
    light, dark = ((ROOT / f"etc/guides/place-{each}.svg").read_text() for each in ("light", "dark"))
    assert light != dark
    assert re.sub("#[0-9a-f]{6}", "", light) == re.sub("#[0-9a-f]{6}", "", dark)
    xml.etree.ElementTree.fromstring(light)


def test_readme_names_what_the_package_needs():
    """Beyond what a build needs."""
    control = (ROOT / "etc/debian/control").read_text()
    needs = re.search(r"^Build-Depends: ((?:.*\n)(?: .*\n)*)", control, re.MULTILINE)[1]
    named = {re.match(r"\s*([\w.+-]+)", each)[1] for each in needs.split(",") if each.strip()}
    named = {"debhelper" if each == "debhelper-compat" else each for each in named}
    installed = set(PACKAGES.split()[2:]) | set(typed.shown(PACKAGING).split()[2:])
    assert named <= installed, named - installed


def test_readme_has_the_lines_of_the_example_for_postfix():
    """Both are typed; one of them is run by a test with Postfix."""
    shown = [block for block in pages.blocks(README) if "postconf" in block]
    assert shown and all(block in pages.blocks("etc/examples/postfix/README.md") for block in shown)
    lines = (ROOT / "etc/examples/postfix/postern.conf").read_text().splitlines()
    whole = "".join(f"{line}\n" for line in lines if line and not line.startswith("#"))
    assert whole in pages.blocks(README)


def shown_record(event):
    """A record of README's, whose time and number are left out there."""
    line, = re.findall(rf'^    (time=.* event="?{event}"? .*)$', README.read_text(), re.MULTILINE)
    return logfmt.parse(line.replace("=…", "=0"))


@pytest.mark.parametrize("event", ["message", "session ended"])
def test_session_in_the_readme_has_the_fields_of_one(event, postern):
    with postern.log_in() as client:
        client.send_message("a@b.test", ["c@d.test"], b"Hello.\r\n")
        client.quit()
    assert list(shown_record(event)) == list(postern.wait_for_record(event=event))


def test_failed_login_in_the_readme_has_the_fields_of_one(postern):
    with postern.connect(tls="starttls") as client:
        client.ehlo()
        client.command("AUTH LOGIN", 334)
        client.command(b64("alice"), 334)
        client.command(b64("wrong"), 535)
    record = postern.wait_for_record(event="login failed")
    assert list(shown_record("login failed")) == list(record)
