"""Running `postern doctor` and reading what it found."""

import json
import os
import subprocess

from support import postern, wait


class Findings:
    """What `postern doctor --json` has found."""

    def __init__(self, result):
        self.status = result.returncode
        self.text = result.stdout + result.stderr
        self.all = json.loads(result.stdout)

    def of(self, check):
        return [each for each in self.all if each["check"] == check]

    def only(self, check):
        found = self.of(check)
        assert len(found) == 1, self.text
        return found[0]

    def severities(self, check):
        return [each["severity"] for each in self.of(check)]


def examine(path, command=(), believe=None, binary=postern.BINARY, **options):
    """Of the installation that a file describes. `command` goes before the binary; `believe` is
    the file of the authorities that this system shall know."""
    environment = {**os.environ, **postern.SANITIZERS}
    if believe:
        environment["SSL_CERT_FILE"] = str(believe)
    return Findings(subprocess.run(
        [*command, binary, "doctor", "--json", "-c", str(path)], env=environment,
        text=True, capture_output=True, timeout=wait.PATIENCE * 3, check=False, **options))
