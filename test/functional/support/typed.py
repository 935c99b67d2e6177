"""What the pages show to be typed: README, guides, examples and manual pages."""

import os
import re
import shutil

from support import pages
from support.pages import ROOT

MARKDOWN = [ROOT / "README.md", *sorted((ROOT / "etc").glob("guides/*.md")),
            *sorted((ROOT / "etc").glob("*/**/README.md"))]
MANUALS = sorted((ROOT / "etc").glob("*.[1-9].in"))

#: Programs that a page may speak of and this machine need not have.
_PROGRAMS = {"apt", "apt-get", "certbot", "curl", "docker", "fail2ban-client", "fail2ban-regex",
             "iptables", "journalctl", "make", "meson", "openssl", "podman", "postconf", "postern", "posternctl",
             "postfix", "postmap", "promtool", "redis-cli", "ssh", "systemctl", "useradd"}


def is_command(line):
    words = line.split()
    if not words or words[1:2] == ["="] or words[0].startswith("/"):
        return False
    if "/" in words[0]:
        return os.access(ROOT / words[0], os.X_OK) and (ROOT / words[0]).is_file()
    return len(words) > 1 and re.fullmatch(r"[a-z][a-z0-9.-]+", words[0]) is not None and (
        words[0] in _PROGRAMS or shutil.which(words[0]) is not None)


def _markdown_lines(text):
    text = re.sub(r" *\\\n *", " ", text)
    yield from (re.sub(r"\s+#.*", "", line) for line in re.findall(r"^ {4,}(.*)$", text, re.MULTILINE))
    yield from (re.sub(r"\s+", " ", line) for line in re.findall(r"`([^`]+)`", text))


def _manual_lines(text):
    for block in pages.displays_of(text):
        yield from re.sub(r" *\\e\n *", " ", block).splitlines()
    for line in re.findall(r"^\.(?:Pq |Po )?(?:Dq|Ql|Li|Dl) (.*)$", text, re.MULTILINE):
        yield re.sub(r"\b(?:Ar|Cm|Fl|Ic|Nm|No|Pa) | [.,;:)]+$", "", line)


def commands(page):
    """Each once, as it stands there but for its comment."""
    text = page.read_text()
    lines = _markdown_lines(text) if page.suffix == ".md" else _manual_lines(text)
    return list(dict.fromkeys(line.strip() for line in lines if is_command(line)))


def shown(command):
    """The command itself, if a page shows it: what a test runs is what people read."""
    assert any(command in commands(page) for page in MARKDOWN + MANUALS), command
    return command
