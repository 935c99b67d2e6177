"""Messages that a server has delivered into a Maildir."""

import email
import email.policy
import pathlib
import re

from support import wait


def subject_of(raw):
    """Of a message whose lines end in LF or CRLF; None if it has none."""
    head = raw[:16384].replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    return email.message_from_bytes(head, policy=email.policy.default)["Subject"]


def trace_fields(raw):
    """The Received fields of a message whose lines end in LF, the latest first."""
    head = raw.partition(b"\n\n")[0].decode()
    return re.findall(r"^Received: .*(?:\n[ \t].*)*", head, re.MULTILINE)


class Maildir:
    def __init__(self, path):
        self.path = pathlib.Path(path)

    def messages(self):
        """All of them, raw, in the order of their arrival."""
        new = self.path / "new"
        paths = sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns) \
            if new.is_dir() else []
        return [path.read_bytes() for path in paths]

    def find(self, subject):
        return [raw for raw in self.messages() if subject_of(raw) == subject]

    def wait_for(self, subject):
        """The message with this Subject (choose one that no other test has), raw."""
        return wait.until(lambda: self.find(subject), f"a message with the subject {subject!r}")[0]
