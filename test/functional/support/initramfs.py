"""The root file system of a virtual machine, as the kernel unpacks it: cpio's "newc" format."""

import os
import pathlib
import re
import stat
import subprocess

_END = "TRAILER!!!"


class Initramfs:
    """Files by their paths inside. What is not given a path stands where it stands outside."""

    def __init__(self):
        self._entries = {}

    def write(self, name, text, mode=0o644):
        self._add(name, stat.S_IFREG | mode, text.encode())

    def link(self, name, target):
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, name, mode=0o755):
        self._add(name, stat.S_IFDIR | mode)

    def copy(self, *paths):
        """Files, what their links lead to."""
        for path in paths:
            self.copy_as(_without_links(path), path)

    def copy_as(self, name, path):
        status = os.stat(path)
        self._add(name, stat.S_IFREG | stat.S_IMODE(status.st_mode),
                  pathlib.Path(path).read_bytes(), int(status.st_mtime))

    def copy_tree(self, directory, leave_out=()):
        """All files below, but for directories of those names."""
        for where, below, files in os.walk(directory):
            below[:] = [name for name in below if name not in leave_out]
            self.copy(*(os.path.join(where, name) for name in files))

    def copy_programs(self, *paths):
        """With the libraries that they need."""
        self.copy(*paths)
        shown = subprocess.run(["ldd", *map(str, paths)], capture_output=True, text=True,
                               check=False).stdout
        self.copy(*set(re.findall(r"(/\S+) \(0x", shown)))

    def save(self, path):
        with open(path, "wb") as file:
            for name in sorted(self._entries):
                file.write(_record(name, *self._entries[name]))
            file.write(_record(_END, 0, b"", 0))

    def _add(self, name, mode, content=b"", modified=0):
        name = str(name).strip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self._entries:
            self.directory(parent)
        self._entries[name] = (mode, content, modified)


def _without_links(path):
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def _record(name, mode, content, modified):
    name = name.encode() + b"\0"
    # inode, mode, user, group, links, time, size, four numbers of devices, length of the name, sum
    fields = (0, mode, 0, 0, 1, modified, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
