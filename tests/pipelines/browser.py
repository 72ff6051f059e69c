"""A headless Chromium that opens a page, presses keys, and tells what is there: DevTools over two pipes."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ANSWER_WITHIN_SECONDS = 20
KEY_CODES = {" ": 32, "Backspace": 8, "ArrowDown": 40, "ArrowUp": 38, "Tab": 9}


class Browser:
    """One page of a running browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._read, self._numbers, self._session = b"", itertools.count(1), ""
        self.said: list[dict[str, Any]] = []  # what the browser told unasked: errors, requests, violations

    def open(self, path: Path) -> None:
        """Open a file, and wait until its scripts have run."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result
            self.said.append(told)

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + ANSWER_WITHIN_SECONDS
        while b"\0" not in self._read:
            with contextlib.suppress(BlockingIOError):
                part = os.read(self._answers, 1 << 20)
                assert part, "the browser has ended"
                self._read += part
                continue
            assert time.monotonic() < until, "the browser does not answer"
            time.sleep(0.005)
        text, _, self._read = self._read.partition(b"\0")
        told: dict[str, Any] = json.loads(text)
        return told

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is worth in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until it is true."""
        until = time.monotonic() + ANSWER_WITHIN_SECONDS
        while not self.value(expression):
            assert time.monotonic() < until, f"never came true: {expression}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        for key in keys:
            code = KEY_CODES.get(key, ord(key[0].upper()))
            text = {"text": key} if len(key) == 1 else {}
            self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def take_picture(self, path: Path, *, width: int = 1280, height: int = 860, dark: bool = False) -> None:
        """A screenshot, for a person to look at."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        time.sleep(0.3)
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in `folder`, which ends with the block."""
    assert PROGRAM is not None
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    os.set_blocking(answer_read, False)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
               "--mute-audio", "--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe",
               f"--user-data-dir={folder / 'profile'}"]  # fmt: skip
    # The browser reads commands from 3 and answers on 4.
    script = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", PROGRAM, *options],
        pass_fds=(command_read, answer_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        yield Browser(command_write, answer_read)
    finally:
        process.kill()
        process.wait()
        os.close(command_write)
        os.close(answer_read)
