"""Firefox and WebKitGTK as Debian has them, which Playwright cannot drive: by WebDriver, one page each."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from functools import cache
from pathlib import Path

import pytest
import websocket

PATIENCE = 120  # seconds that anything may take
QUIET = {
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.aboutwelcome.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Firefox:
    """Firefox without a screen, by WebDriver BiDi."""

    def __init__(self, folder, **preferences):
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in (QUIET | preferences).items()
        ]
        (folder / "user.js").write_text("".join(lines), encoding="utf-8")
        port = free_port()
        command = [firefox(), "--headless", "--no-remote", "--profile", folder]
        command += [f"--remote-debugging-port={port}", "about:blank"]
        self.process = start(command, folder / "log")
        address = f"ws://127.0.0.1:{port}/session"
        self.socket = patiently(
            lambda: websocket.create_connection(address, PATIENCE, suppress_origin=True)
        )
        self.count = 0
        self.ask("session.new", capabilities={})
        self.context = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.count:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]

    def goto(self, url):
        self.ask("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def size(self, width, height):
        viewport = {"width": width, "height": height}
        self.ask("browsingContext.setViewport", context=self.context, viewport=viewport)

    def evaluate(self, expression):
        """The value of a JavaScript expression, or of the promise that it is."""
        code = f"(async () => JSON.stringify((await ({expression})) ?? null))()"
        answer = self.ask(
            "script.evaluate", expression=code, target={"context": self.context}, awaitPromise=True
        )
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"]["value"])

    def perform(self, actions):
        self.ask("input.performActions", context=self.context, actions=actions)

    def screenshot(self):
        return self.ask("browsingContext.captureScreenshot", context=self.context)["data"]

    def close(self):
        with contextlib.suppress(Exception):
            self.ask("browser.close")
        stop(self.process)


class WebKit:
    """Debian's WebKitGTK in its MiniBrowser on a virtual screen, by WebDriver."""

    def __init__(self, folder):
        port = free_port()
        command = ["xvfb-run", "-a", "-s", "-screen 0 1400x1000x24", "WebKitWebDriver"]
        self.process = start([*command, f"--port={port}"], folder / "log")
        self.address = f"http://127.0.0.1:{port}"
        patiently(lambda: self.ask("GET", "/status"))
        options = {"binary": str(mini_browser()), "args": ["--automation"]}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        session = self.ask("POST", "/session", capabilities=wanted)["sessionId"]
        self.address += f"/session/{session}"
        self.ask("POST", "/timeouts", script=PATIENCE * 1000)

    def ask(self, method, path, **parameters):
        data = json.dumps(parameters).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def goto(self, url):
        self.ask("POST", "/url", url=url)

    def size(self, width, height):
        """Of the page, whose window has a bar of its own."""
        for _ in range(2):
            now = self.evaluate("[outerWidth - innerWidth, outerHeight - innerHeight]")
            self.ask("POST", "/window/rect", width=width + now[0], height=height + now[1])

    def evaluate(self, expression):
        """As Firefox.evaluate."""
        code = f"""const [done] = arguments;
        (async () => ({expression}))().then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"""
        answer = self.ask("POST", "/execute/async", script=code, args=[])
        assert "error" not in answer, answer
        return answer.get("value")

    def perform(self, actions):
        self.ask("POST", "/actions", actions=actions)

    def screenshot(self):
        return self.ask("GET", "/screenshot")

    def close(self):
        with contextlib.suppress(Exception):
            self.ask("DELETE", "")
        stop(self.process)


def firefox():
    return shutil.which("firefox-esr") or shutil.which("firefox")


@cache
def mini_browser():
    found = Path("/usr/lib").glob("*/webkit2gtk-4.1/MiniBrowser")
    return next(found, None)


def open_engine(name, folder, **preferences):
    """A Firefox or WebKit; a test that asks for one that is not installed is left out and says so."""
    if name == "firefox":
        if not firefox():
            pytest.skip("no Firefox: install Debian's firefox-esr")
        return Firefox(folder, **preferences)
    tools = [shutil.which("WebKitWebDriver"), shutil.which("xvfb-run"), mini_browser()]
    if not all(tools):
        pytest.skip("no WebKitGTK: install Debian's webkit2gtk-driver and xvfb")
    return WebKit(folder)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(command, log):
    with open(log, "w", encoding="utf-8") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)


def stop(process):
    """Ends a process and those that it has started: xvfb-run leaves its own behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def patiently(attempt):
    """What `attempt` returns once it no longer finds nobody to talk to."""
    for _ in range(4 * PATIENCE):
        try:
            return attempt()
        except (OSError, websocket.WebSocketException):
            time.sleep(0.25)
    return attempt()
