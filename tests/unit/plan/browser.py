"""A headless browser for tests, spoken to over pipes: no port, no network, no further package."""

import base64
import itertools
import json
import os
import select
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip

PATIENCE = 60
"""Seconds after which a silent browser is taken for dead."""


def find_chromium() -> str | None:
    """Return the program, if it is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Tab:
    """One page of the browser.

    Attributes:
        complaints: Errors and warnings of the console, and exceptions.
        requests: Addresses that were asked for.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._out, self._in = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self._asked("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        self._session = self._asked("Target.attachToTarget", attach)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **values: Any) -> dict[str, Any]:
        """Call a method of the browser's protocol and return its result."""
        return self._asked(method, values, self._session)

    def _asked(
        self, method: str, values: dict[str, Any], session: str | None = None
    ) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == number:
                assert "error" not in found, found
                result: dict[str, Any] = found["result"]
                return result
            self._note(found)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, "the browser says nothing any more"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser is gone"
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        values = event["params"]
        match event["method"]:
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(values["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(values["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(values["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(values["request"]["url"])
            case _:
                self._events.append(event)

    def open(self, path: Path) -> None:
        """Load a page and wait until it is there."""
        self._events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._note(self._message())

    def value(self, script: str) -> Any:
        """Return what an expression gives."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key, as a person does."""
        codes = {"Tab": 9, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40, " ": 32}  # fmt: skip
        text = {"text": " "} if key == " " else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                values = {"type": kind, "key": key, "windowsVirtualKeyCode": codes[key]} | text
                self.ask("Input.dispatchKeyEvent", **values)

    def point(self, selector: str, part: float = 0.5) -> None:
        """Move the mouse over an element."""
        box = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height]; })()"
        )
        x, y = box[0] + box[2] * part, box[1] + box[3] / 2
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def prefer(self, scheme: str) -> None:
        """Set whether light or dark is preferred."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.ask("Emulation.setEmulatedMedia", features=[feature])

    def size(self, width: int, height: int, scale: float) -> None:
        """Set the size of the window, and how large a picture of it is."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return what is seen, shape ``(height, width, 3)``."""
        return pixels(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


def pixels(png: bytes) -> npt.NDArray[np.uint8]:
    """Decode a PNG of 8 bits a channel without interlace."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data = 8, b""
    width = height = channels = 0
    while at < len(png):
        size, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            assert depth == 8
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    raw = zlib.decompress(data)
    stride = width * channels
    lines = [bytes(stride)]
    for row in range(height):
        line = raw[row * (stride + 1) : (row + 1) * (stride + 1)]
        lines.append(_unfiltered(line[0], bytearray(line[1:]), lines[-1], channels))
    found = np.frombuffer(b"".join(lines[1:]), np.uint8).reshape(height, width, channels)
    return found[:, :, :3]


def _unfiltered(kind: int, line: bytearray, above: bytes, step: int) -> bytes:
    for at in range(len(line)):
        left = line[at - step] if at >= step else 0
        up = above[at]
        corner = above[at - step] if at >= step else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda each: abs(guess - each))
        line[at] = (line[at] + (0, left, up, (left + up) // 2, nearest)[kind]) & 0xFF
    return bytes(line)


@contextmanager
def browsing(program: str, profile: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own, and end it."""
    read_end, to_browser = os.pipe()
    from_browser, write_end = os.pipe()
    # The browser reads descriptor 3 and writes 4, whatever numbers ours have.
    start = f'exec 3<&{read_end} 4>&{write_end} && exec "$0" "$@"'
    with subprocess.Popen(
        ["bash", "-c", start, program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(read_end, write_end),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        os.close(read_end)
        os.close(write_end)
        try:
            tab = Tab(to_browser, from_browser)
            yield tab
            os.write(to_browser, b'{"id":0,"method":"Browser.close"}\0')
            running.wait(20)
        finally:
            os.close(to_browser)
            os.close(from_browser)
            running.kill()
