"""A real browser that a test drives: headless Chromium over its DevTools protocol. It judges nothing.

What a page did beside what was asked of it is kept: the requests it sent, what it wrote to its console, script that
failed, dialogs, and violations of its Content-Security-Policy.
"""

import base64
import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

from support.process import require_program, running

WAIT_SECONDS: Final = 45.0
_POLL_SECONDS: Final = 0.05
_KEYS: Final = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    "Space": (32, " "),
}


class PageError(Exception):
    """The page did not do what was waited for, or its script failed; the message has what it said."""


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection: Final = connection
        self._number = 0
        self.requested: list[str] = []
        """The URLs of all requests."""
        self.complaints: list[str] = []
        """Errors of scripts, refused by the Content-Security-Policy or thrown, and whatever the console was told."""
        self.dialogs: list[str] = []
        """The texts of alert() and the like."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        # A page that another window covers has the focus all the same.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the DevTools protocol and return its result.

        Raises:
            PageError: the browser refused.
        """
        self._number += 1
        number = self._number  # of this call: a dialog that comes meanwhile is answered under one of its own
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(WAIT_SECONDS))
            if message.get("id") == number:
                if "error" in message:
                    raise PageError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def open(self, url: str) -> None:
        """Go to a URL, as if it were typed."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Run a script in the page and return its value, awaited.

        Raises:
            PageError: it threw.
        """
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise PageError(f"{script}: {found['exceptionDetails']['exception'].get('description')}")
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return the text that is seen in an element; "" if there is none."""
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait(self, condition: str, what: str) -> None:
        """Return once a script's value is true.

        Raises:
            PageError: it was not in time; the message has `what` and what the page shows.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with contextlib.suppress(PageError):  # the page may just be replaced by another
                if self.run(condition):
                    return
            if time.monotonic() > deadline:
                raise PageError(f"waited in vain: {what}; {self.complaints}; the page shows:\n{self.text()[:2000]}")
            time.sleep(_POLL_SECONDS)

    def wait_text(self, text: str, selector: str = "body") -> None:
        """Return once an element shows this text."""
        condition = f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(text)})"
        self.wait(condition, f"{text!r} in {selector}")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        code, text = _KEYS[key]
        told = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": code}
        told["modifiers"] = 8 if shift else 0
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
        self.call("Input.dispatchKeyEvent", type="keyUp", **told)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a mouse would."""
        where = self.run(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); node.scrollIntoView("
            "{block: 'center'}); const box = node.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1)

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Give the page another size, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefer(self, feature: str, value: str) -> None:
        """Set what the reader prefers: `prefers-color-scheme`, `prefers-reduced-motion`."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": feature, "value": value}])

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    def _note(self, message: Any) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(f"{details['text']} {details.get('exception', {}).get('description', '')}")
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{told['entry']['source']}: {told['entry']['text']}")
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(f"console: {[argument.get('value') for argument in told['args']]}")
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(told["message"])
            self._number += 1
            answer = {"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            self._connection.send(json.dumps(answer))


class Browser:
    """A running Chromium."""

    def __init__(self, port: int) -> None:
        self._port: Final = port

    @contextlib.contextmanager
    def page(self, width: int = 1400, height: int = 900) -> Iterator[Page]:
        """Open a tab while the block runs; it shares nothing with others but the browser's profile."""
        opened = self._ask("PUT", "/json/new?about:blank")
        # No pings: a browser that stands still for a while is no failure.
        with connect(
            opened["webSocketDebuggerUrl"],
            max_size=None,
            proxy=None,
            compression=None,
            open_timeout=WAIT_SECONDS,
            ping_interval=None,
        ) as connection:
            page = Page(connection)
            page.resize(width, height)
            yield page
        self._ask("GET", f"/json/close/{opened['id']}")

    def _ask(self, method: str, target: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT_SECONDS)
        with contextlib.closing(connection):
            connection.request(method, target)
            body = connection.getresponse().read()
        return json.loads(body) if body.startswith(b"{") else None


@contextlib.contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Run Chromium while the block runs.

    Raises:
        ProgramError: it did not start; the message has the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "profile" / "DevToolsActivePort"
    argv = [require_program("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    argv += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    argv += ["--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-port=0"]
    argv += [f"--user-data-dir={folder / 'profile'}", "about:blank"]
    with running(argv, log=folder / "chromium.log", ready=lambda: len(told.read_text().splitlines()) == 2):
        yield Browser(int(told.read_text(encoding="utf-8").splitlines()[0]))
