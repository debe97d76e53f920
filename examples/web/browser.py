"""Opens the page in headless Chromium, controlled through the WebDriver protocol.

    python -m examples.web.browser --page runs/demo/web/index.html --picture figure.png \
        --screenshot page.png

The command drops the picture on the page, waits for the pose, saves a screenshot, and prints the
page's status line.
"""

import base64
import contextlib
import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError
from examples.pose.files import output_paths
from examples.pose.files.atomic_write import atomic_write

TIMEOUT_SECONDS = 120.0
# --no-sandbox lets Chromium run as root, --disable-dev-shm-usage lets it run with little shared
# memory, and --disable-gpu makes results independent of the graphics card.
_CHROMIUM_FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--headless=new")
_DROP = """
const [name, type, data] = arguments;
const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, { type }));
const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
document.getElementById("drop").dispatchEvent(new DragEvent("drop", options));
"""


def is_installed() -> bool:
    """Whether Chromium and its driver are installed."""
    return shutil.which("chromedriver") is not None and shutil.which("chromium") is not None


class BrowserError(UserError):
    """The browser or the page failed; the message says why."""


class Browser:
    """A browser session, controlled by the few WebDriver commands that the page needs."""

    def __init__(self, port: int, session: str):
        self._address = f"http://127.0.0.1:{port}/session/{session}"

    def open(self, page: Path) -> None:
        """Opens a file."""
        self._ask("url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments):
        """Runs JavaScript in the page and returns its result."""
        return self._ask("execute/sync", {"script": script, "args": list(arguments)})

    def drop(self, name: str, content: bytes, media_type: str = "image/png") -> None:
        """Drops a file on the page."""
        self.run(_DROP, name, media_type, base64.b64encode(content).decode())

    def wait_for(self, *states: str) -> str:
        """Waits until the page is in one of these states, and returns the state."""
        end = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < end:
            state = self.run("return document.body.dataset.state")
            if state in states:
                return state
            time.sleep(0.1)
        raise TimeoutError(f"The page is still in state {state!r}, not in one of {states}.")

    def pose(self) -> dict:
        """Returns the pose that the page found."""
        return json.loads(self.run("return document.body.dataset.pose"))

    def screenshot(self) -> bytes:
        """Returns a picture of the window as a PNG file."""
        return base64.b64decode(self._ask("screenshot"))

    def _ask(self, command: str, content: dict | None = None):
        return _request(f"{self._address}/{command}", content)


@contextlib.contextmanager
def chromium(width: int = 1100, height: int = 1700) -> Iterator[Browser]:
    """Starts a browser, and closes it at the end of the `with` block."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    session = None
    try:
        port = _port(driver)
        flags = [*_CHROMIUM_FLAGS, f"--window-size={width},{height}"]
        options = {"browserName": "chrome", "goog:chromeOptions": {"args": flags}}
        answer = _request(
            f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": options}}
        )
        session = answer["sessionId"]
        yield Browser(port, session)
    finally:
        if session is not None:
            with contextlib.suppress(OSError, BrowserError):  # Ctrl-C ends chromedriver, too.
                _request(f"http://127.0.0.1:{port}/session/{session}", method="DELETE")
        driver.terminate()
        driver.wait()
        driver.stdout.close()


def _port(driver: subprocess.Popen) -> int:
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.split("port")[1].strip(" .\n"))
    raise BrowserError("chromedriver did not start.")


def _request(address: str, content: dict | None = None, method: str | None = None):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, data, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        message = " ".join(json.load(error)["value"]["message"].split())
        raise BrowserError(f"chromedriver: {message}") from None


def main(argv=None) -> None:
    """Runs the command `python -m examples.web.browser`."""
    parser = command_line.Parser(
        prog="python -m examples.web.browser", description="Run the page in a headless Chromium."
    )
    parser.add_argument("--page", type=Path, required=True, help="index.html of the built page")
    parser.add_argument("--picture", type=Path, required=True, help="picture to drop on it")
    parser.add_argument("--screenshot", type=command_line.new_file, help="PNG file to write")
    arguments = parser.parse_args(argv)
    _run_page(arguments)


def _run_page(arguments) -> None:
    if not arguments.page.is_file():
        raise BrowserError(f"--page {arguments.page} is not a file: pass the page's index.html.")
    content = arguments.picture.read_bytes()
    if arguments.screenshot:
        page_files = [path for path in arguments.page.parent.iterdir() if path.is_file()]
        read = [arguments.picture, *page_files]
        output_paths.check_outputs([("--screenshot", arguments.screenshot)], read)
        if arguments.screenshot.suffix.lower() != ".png":
            raise BrowserError(f"--screenshot {arguments.screenshot}: must end in .png")
    if not is_installed():
        raise BrowserError("Chromium or its driver is missing: apt install chromium-driver.")
    with chromium() as browser:
        browser.open(arguments.page)
        if browser.wait_for("ready", "error") == "ready":
            browser.drop(arguments.picture.name, content)
        state = browser.wait_for("done", "error")
        status = browser.run("return document.getElementById('status').textContent")
        if arguments.screenshot:
            with atomic_write(arguments.screenshot) as temporary:
                temporary.write_bytes(browser.screenshot())
    if state == "error":
        raise BrowserError(status)
    print(status)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
