"""The files of the page, read once: a table by path, so that no path of a request ever reaches a file system."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from extauthz.doors.admin import CONSOLE, StaticFile

PAGE: Final = "index.html"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def read_files() -> Mapping[bytes, StaticFile]:
    """Return every file of the page by its path: the page at /console, what it loads below."""
    found = {}
    for entry in (Path(__file__).parent / "static").iterdir():
        path = CONSOLE if entry.name == PAGE else CONSOLE + b"/" + entry.name.encode()
        found[path] = StaticFile(_TYPES[entry.suffix], entry.read_bytes())
    return found
