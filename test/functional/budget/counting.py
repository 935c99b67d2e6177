"""Allocations of a process, counted by a library that is loaded before all others."""

import pathlib
import struct
import subprocess

SOURCE = pathlib.Path(__file__).with_name("count_allocations.c")


class Counter:
    """Has a program counted: it is started in `environment`."""

    def __init__(self, directory):
        library = directory / "count_allocations.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._path = directory / "allocations"
        self.environment = {"LD_PRELOAD": str(library), "POSTERN_ALLOCATIONS": str(self._path)}

    def of(self, pid):
        """What gives a process's calls of malloc(), calloc() and realloc() so far."""
        def count():
            table = self._path.read_bytes()
            pairs = dict(struct.iter_unpack("QQ", table[8:]))
            return pairs[pid]
        return count
