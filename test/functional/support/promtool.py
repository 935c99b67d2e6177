"""promtool, out of Debian's package of Prometheus."""

import subprocess

from support import package


def path():
    return package.unpack("prometheus") / "usr/bin/promtool"


def run(*arguments, text=None):
    """Its output; a complaint fails."""
    result = subprocess.run([path(), *map(str, arguments)], input=text, capture_output=True,
                            text=True, timeout=60, check=False)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return output
