"""The page's files: nothing in them parses markup, runs text, stands inline, or is loaded from elsewhere."""

import re
from collections.abc import Mapping
from importlib.resources import files

import pytest

from extauthz.console.files import read_files
from extauthz.doors.admin import StaticFile

FILES: Mapping[bytes, StaticFile] = read_files()
SCRIPTS = [path.decode() for path in FILES if path.endswith(b".js")]
LARGEST_BYTES = 130_000

# Each of these makes script or markup of text.
_DANGEROUS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\bFunction\(|createContextualFragment|DOMParser"
    r"|srcdoc|setHTML|javascript:|import\(|setTimeout\(\s*[\"'`]|setInterval\(\s*[\"'`]|localStorage|document\.cookie"
)


def _text(path: str) -> str:
    return FILES[path.encode()].body.decode()


@pytest.mark.parametrize("path", SCRIPTS)
def test_script_makes_no_markup_of_text(path: str) -> None:
    assert not _DANGEROUS.search(_text(path))
    # An address of an element is one of ours: what a client sent never becomes one.
    assert not re.search(r"\b(src|href|action|formaction): (?!address\(|link\()", _text(path))


@pytest.mark.parametrize("path", SCRIPTS)
def test_script_is_loaded_from_beside_it(path: str) -> None:
    for source in re.findall(r"^import .* from \"([^\"]+)\"", _text(path), re.MULTILINE):
        assert f"/console/{source.removeprefix('./')}".encode() in FILES


def test_page_has_nothing_inline_and_loads_only_what_is_served() -> None:
    page = _text("/console")
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)
    for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", page):
        assert address.startswith("#") or address.encode() in FILES
    ids = re.findall(r"\sid=\"([^\"]+)\"", page)
    assert len(ids) == len(set(ids))
    for label in re.findall(r"(?:aria-controls|aria-labelledby)=\"([^\"]+)\"", page):
        assert label in ids or label == "drawer-title"


def test_no_file_names_another_host() -> None:
    for path, file in FILES.items():
        for url in re.findall(rb"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"')]*", file.body):
            assert url == b"http://www.w3.org/2000/svg", f"{path!r} names {url!r}"


def test_page_is_small() -> None:
    assert sum(len(file.body) for file in FILES.values()) < LARGEST_BYTES
    for entry in files("extauthz.console").joinpath("static").iterdir():
        assert len(entry.read_bytes().splitlines()) <= 350, entry.name
