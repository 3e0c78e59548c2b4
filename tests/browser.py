"""Headless Chromium over its debugging pipe: pages as a person's browser would show them.

No web driver and no open port: commands go to file descriptor 3, answers come from 4, as JSON
messages that end in a zero byte.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

BINARY = next(
    (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update --disable-dev-shm-usage"
    " --hide-scrollbars --remote-debugging-pipe"
).split()  # fmt: skip

AUDIT = Path(__file__).with_name("audit.js").read_text(encoding="utf-8")


class Browser:
    """One browser with an empty profile; a context manager."""

    def __init__(self, profile: Path):
        to_browser, self._in = os.pipe()
        self._out, from_browser = os.pipe()

        def plug():
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        # high numbers first, so that dup2 does not overwrite what it needs
        to_browser, from_browser = (_high(f) for f in (to_browser, from_browser))
        self.process = subprocess.Popen(
            [BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank"], preexec_fn=plug,
            close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._buffer, self._count, self.events, self.session = b"", 0, [], None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self) -> dict:
        while b"\0" not in self._buffer:
            part = os.read(self._out, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def __call__(self, method: str, **params) -> dict:
        """Send a command, wait for its answer; events on the way are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def js(self, code: str):
        found = self("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def open(self, path: Path, width: int = 1280, dark: bool = False, height: int = 900) -> dict:
        """Load a file and audit it: console messages and requests are added to what AUDIT says."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self.events.clear()
        self("Page.navigate", url=Path(path).resolve().as_uri())
        end = time.monotonic() + 30
        while (
            self.js("document.readyState") != "complete"
            or self.js("location.href") == "about:blank"
        ):
            if time.monotonic() > end:
                raise RuntimeError(f"{path} was not loaded")
            time.sleep(0.02)
        found = self.js(AUDIT)
        asked = [e["params"]["request"]["url"] for e in self.events
                 if e.get("method") == "Network.requestWillBeSent"]  # fmt: skip
        found["requests"] = [u for u in asked[1:] if not u.startswith("data:")]
        noise = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        found["console"] = [e["params"] for e in self.events if e.get("method") in noise]
        return found

    def picture(self, path: Path, whole: bool = False) -> Path:
        """A screenshot of what is open."""
        data = self("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))
        return Path(path)


def _high(fd: int) -> int:
    import fcntl

    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(fd)
    return new
