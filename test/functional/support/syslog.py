"""What programs say to syslog, where a test has put /dev/log."""

import re
import socket
import threading

from support import wait


class Syslog:
    """Reads until it is closed. A line is "name[pid]: text"."""

    def __init__(self, path):
        self._lines = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o666)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while True:
            datagram = self._socket.recv(65536)
            if not datagram:
                return
            text = datagram.decode("utf-8", "replace").rstrip("\0\n")
            self._lines.append(re.sub(r"^<\d+>(\w{3} [ \d]\d [\d:]{8} )?", "", text))

    def text(self):
        return "".join(line + "\n" for line in list(self._lines))

    def wait_for(self, pattern):
        """The first match of the pattern in any line."""
        try:
            return wait.until(lambda: re.search(pattern, self.text(), re.MULTILINE),
                              f"{pattern!r} in syslog")
        except wait.Lost as lost:
            raise wait.Lost(f"{lost}\n{self.text()[-4000:]}") from None

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(wait.PATIENCE)
        self._socket.close()
