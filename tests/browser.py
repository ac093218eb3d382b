"""Headless Chromium without a driver: its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")

PATIENCE = 60.0
"""Seconds to wait for an answer; the machine may be busy."""


def find_chromium() -> str | None:
    """The browser on this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads descriptor 3 and writes 4."""


class Browser:
    """A browser with one tab. Use it as a context."""

    def __init__(self, profile: Path) -> None:
        """Start it.

        Args:
            profile: A folder for what it keeps.
        """
        command_out, self._to = os.pipe()
        self._from, answer_in = os.pipe()
        flags = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-extensions", "--hide-scrollbars", "--mute-audio"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
        ]
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_out, answer_in)]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, ends), find_chromium(), *flags],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (command_out, answer_in, *ends):
            os.close(end)
        self._numbers = itertools.count(1)
        self._unread = b""
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        try:
            self._attach()
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        """Talk to its tab from now on."""
        targets = self._ask("Target.getTargets")["targetInfos"]
        tab = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and what it started."""
        os.close(self._to)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def open(self, page: Path, width: int, theme: str, height: int = 900) -> None:
        """Show an HTML file; see `visit`."""
        self.visit(page.resolve().as_uri(), width, theme, height)

    def visit(self, address: str, width: int, theme: str, height: int = 900) -> None:
        """Show a page.

        Args:
            address: Its address.
            width: Of the window in pixels.
            theme: ``light`` or ``dark``: what the reader's system prefers.
            height: Of the window in pixels.
        """
        self.events.clear()
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        prefers = [{"name": "prefers-color-scheme", "value": theme}]
        self._ask("Emulation.setEmulatedMedia", features=prefers)
        self._ask("Page.navigate", url=address)
        self._wait_for("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        """What a JavaScript expression comes to, a promise once it is kept."""
        found = self._ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self) -> bytes:
        """The whole page as a PNG."""
        taken = self._ask("Page.captureScreenshot", captureBeyondViewport=True, format="png")
        return base64.b64decode(taken["data"])

    def requests(self) -> list[str]:
        """The files that were asked for since the page was opened, itself among them."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith("data:")]  # which the page has itself

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _wait_for(self, event: str) -> None:
        while not any(each.get("method") == event for each in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._unread:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise TimeoutError("The browser does not answer.")
            found = os.read(self._from, 1 << 20)
            if not found:
                raise ConnectionError("The browser has ended.")
            self._unread += found
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)
