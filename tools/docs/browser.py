"""A headless Chromium, driven by its own protocol over a pair of pipes: only the browser needs to be installed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
         "--allow-file-access-from-files")  # fmt: skip
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}


def found() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One page of one browser."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()
        script = f'exec "$0" "$@" 3<&{commands} 4>&{answers}'  # the numbers that it reads from and writes to
        self.process = subprocess.Popen(
            ["bash", "-c", script, program, *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
            pass_fds=(commands, answers),
            env=os.environ | {"TMPDIR": self.profile.name},  # it leaves a folder there
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self.rest, self.number, self.session = b"", 0, ""
        self.events: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Page.enable")
        # a page remembers the colours that it was first seen in
        forget = "try { localStorage.clear() } catch {}"
        self.ask("Page.addScriptToEvaluateOnNewDocument", source=forget)

    def ask(self, method: str, **given: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": given}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer.get("method", ""))

    def next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            more = os.read(self.answers, 1 << 20)
            if not more:
                raise RuntimeError("the browser has ended")
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def look(self, width: int, height: int, scheme: str) -> None:
        """The size of the window, and what the reader prefers: "light" or "dark"."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.ask(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, still]
        )

    def open(self, page: Path) -> None:
        self.events.clear()
        self.ask("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self.events:
            self.events.append(self.next().get("method", ""))

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is waited for."""
        done = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"])
        return done["result"].get("value")

    def press(self, key: str, shift: bool = False) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key],
                     modifiers=8 if shift else 0)  # fmt: skip

    def shoot(self, path: Path, most: int = 6000) -> None:
        """A picture of the page, down to `most` points."""
        size = self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], most), "scale": 1}
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)
        self.profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
