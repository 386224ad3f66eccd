"""A headless Chromium, driven over a pipe with the DevTools protocol: no driver, no library, no open port.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from processes import PATIENCE

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS: Final = (
    "--headless=new",
    "--no-sandbox",  # root, as in most containers, has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)
# Chromium reads its orders from descriptor 3 and answers on 4.
_LAUNCH: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_browser() -> str | None:
    """The path of a Chromium; None without one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class View(NamedTuple):
    """A screen to look at a page on."""

    width: int
    height: int
    dark: bool
    phone: bool


class BrowserError(RuntimeError):
    """The browser refused an order, did not answer or ended."""


class Browser:
    """One page in one browser. Use as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = 0
        self._buffer = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        pipes = [*os.pipe(), *os.pipe()]
        # Away from 3 and 4, which would be overwritten before they are copied.
        their_in, self._out, self._in, their_out = (
            fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in pipes
        )
        for each in pipes:
            os.close(each)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _LAUNCH,
                str(their_in),
                str(their_out),
                self._path,
                *_OPTIONS,
                f"--user-data-dir={self._profile.name}",
            ],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._in, selectors.EVENT_READ)
        try:
            target = self.order("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.order("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.order(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        os.close(self._out)  # which tells it to end
        os.close(self._in)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    def order(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Have something done; returns the answer, and keeps the events that came before it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def wait_for(self, method: str) -> None:
        """Read events until one of this kind came."""
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self._read())

    def open_page(self, url: str, view: View) -> None:
        """Load a page as seen on this screen; the events are those since then."""
        self.order(
            "Emulation.setDeviceMetricsOverride",
            width=view.width,
            height=view.height,
            deviceScaleFactor=2 if view.phone else 1,
            mobile=view.phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if view.dark else "light"}
        self.order("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.order("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.order("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """What the page or the browser wrote to the console, and exceptions, since it was opened."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in asked]

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        picture = self.order("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not self._selector.select(until - time.monotonic()):
                raise BrowserError(f"no answer within {PATIENCE} s")
            if not (piece := os.read(self._in, 1 << 20)):
                raise BrowserError(f"the browser ended with code {self._process.wait()}")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))
