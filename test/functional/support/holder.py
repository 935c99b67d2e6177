"""The first process of a tree, which holds what is mounted for it until it ends."""

import subprocess

import pytest

from support import processes, wait


class Holder:
    """`words` make namespaces and a tree in them, write "mounted" and wait for the end of standard
    input. `first` is the first process in there. Skips where that is not allowed."""

    def __init__(self, *words, **options):
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, **options)
        if self._process.stdout.readline() != "mounted\n":
            pytest.skip(f"no tree of its own can run here: {self._process.communicate()[1].strip()}")
        (self.first,) = processes.children(self._process.pid)

    def close(self):
        self._process.stdin.close()
        self._process.wait(wait.PATIENCE)
        self._process.stdout.close()
        self._process.stderr.close()
