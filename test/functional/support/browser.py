"""A real browser without a window, and a port of loopback that leads to Postern's administration
socket, as "ssh -L" makes one."""

import contextlib
import pathlib
import socket
import threading

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from support import control, wait
from support import postern as posterns

#: Pictures stay beside the program that was tested.
PICTURES = pathlib.Path(posterns.BINARY).resolve().parent / "screenshots"


FIRST_TILES = """
    document.addEventListener("DOMContentLoaded", () => {
        const tiles = document.getElementById("tiles");
        new MutationObserver((changes, observer) => {
            window.firstTiles = tiles.innerText;
            observer.disconnect();
        }).observe(tiles, {childList: true});
    });
"""


class Forwarder:
    """Accepts on a port of loopback, and passes bytes to and from a unix socket."""

    def __init__(self, path):
        self._path = str(path)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d/" % self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self._listener.accept()[:1],
                                 daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._path)
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join(wait.PATIENCE)

    @staticmethod
    def _copy(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.close()


class Page:
    """The status page of a running Postern, open in the browser."""

    def __init__(self, driver, postern, watched=False):
        """With `watched`, the page's variable firstTiles is what its figures were at first."""
        self.driver = driver
        self._forwarder = Forwarder(control.path_of(postern))
        watch = watched and driver.execute_cdp_cmd(
            "Page.addScriptToEvaluateOnNewDocument", {"source": FIRST_TILES})
        driver.get_log("browser")
        driver.get(self._forwarder.url)
        if watch:
            driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watch)
        self.wait_for_state("serving")

    def text(self, identifier):
        return self.run(f"return document.getElementById('{identifier}').innerText")

    def rows(self, identifier):
        """The cells' texts of a table's rows, as they are in the document."""
        return self.run("return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map("
                        "row => [...row.cells].map(cell => cell.textContent))", f"#{identifier}")

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def next_answer(self):
        """Waits until the page has shown what Postern answered once more."""
        seen = self.run("return past[past.length - 1].at")
        wait.until(lambda: self.run("return past[past.length - 1].at") > seen, "another answer")

    def wait_for_state(self, state):
        wait.until(lambda: self.text("state") == state, f"a page that says {state!r}")

    def complaints(self):
        """What the browser's console holds of errors."""
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]

    def picture(self, name):
        PICTURES.mkdir(exist_ok=True)
        self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def close(self):
        self.driver.get("about:blank")
        self._forwarder.close()


def start(directory):
    """A browser that reaches nothing but loopback; quit() ends it."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                     "--disable-dev-shm-usage", "--disable-background-networking",
                     "--disable-component-update", "--disable-default-apps",
                     "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                     f"--user-data-dir={directory}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


def emulate(driver, *, width=1280, height=1400, telephone=False, dark=False):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": telephone})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
