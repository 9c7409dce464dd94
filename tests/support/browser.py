"""Headless Chromium driven over a pipe (Chrome DevTools Protocol), with the standard library alone; offline, without a GPU.

``--remote-debugging-pipe`` speaks JSON messages that end in NUL on file descriptors 3 (to the browser) and 4 (from it).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-software-rasterizer", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-default-browser-check", "--mute-audio",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


def find():
    """Path of Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _moved(end, lowest):
    """The same file under a number from ``lowest`` on."""
    moved = fcntl.fcntl(end, fcntl.F_DUPFD, lowest)
    os.close(end)
    return moved


class Browser:
    """One page. ``requests`` lists the address of everything that was asked for."""

    def __init__(self, size=(1200, 800), wait=60.0):
        self.wait, self.number, self.buffer, self.requests, self.dialogs = wait, 0, b"", [], []
        self.profile = tempfile.mkdtemp(prefix="browser-")
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()
        to_read, from_write = (_moved(end, 20) for end in (to_read, from_write))  # clear of 3 and 4
        command = [find(), *FLAGS, f"--user-data-dir={self.profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        start = f"import os, sys; os.dup2({to_read}, 3); os.dup2({from_write}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        program = [sys.executable, "-S", "-c", start, *command]
        self.process = subprocess.Popen(program, pass_fds=(to_read, from_write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.session = None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
        self.resize(*size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **params):
        """Send a command and give its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.wait
        while True:
            answer = self._next(until)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self, until):
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            block = os.read(self.back, 1 << 20)
            if not block:
                raise RuntimeError("the browser ended")
            self.buffer += block
        raw, _, self.buffer = self.buffer.partition(b"\0")
        message = json.loads(raw)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") in ("Page.javascriptDialogOpening", "Runtime.exceptionThrown"):
            self.dialogs.append(message["params"])
        return message

    def resize(self, width, height):
        """Size of the page in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, path, fragment=""):
        """Load a local file and wait until the map is drawn; gives the seconds it took."""
        began = time.monotonic()
        self.call("Page.navigate", url=Path(path).resolve().as_uri() + fragment)
        while self.js("document.documentElement?.dataset.ready ?? ''") != "1":
            if time.monotonic() - began > self.wait:
                raise TimeoutError(self.js("document.body.innerText"))
            time.sleep(0.02)
        return time.monotonic() - began

    def js(self, expression):
        """Value of an expression, awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:500])
        return result["result"].get("value")

    def mouse(self, kind, x, y, **more):
        """A mouse event at a place of the page."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def key(self, key, text=None):
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **more)

    def settled(self):
        """Wait until what was asked for is drawn and listed."""
        self.js("new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 450))")

    def screenshot(self, path):
        """A PNG of the page."""
        self.settled()
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
