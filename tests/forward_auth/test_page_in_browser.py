"""The page of a denial as a person meets it: in a real browser, wide, narrow, and with script in what is configured."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from forward_auth.opening import Doors, gateway, opened_doors
from support.process import require_program

BROWSER_SECONDS = 120
# A required header whose name, which stands in the reason, would be a script if the page let it.
SCRIPT = "<script>document.title='run'</script>"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """Doors that answer browsers with the page."""
    script = gateway(rules={"requiredHeaders": [SCRIPT]}, peer="caller", trustedProxies=["127.0.0.1"])
    config = {"denial": {"body": "html"}, "gateways": {"openclaw": gateway(), "script": script}}
    with opened_doors(tmp_path_factory.mktemp("page"), config) as found:
        yield found


def _browse(folder: Path, url: str, *options: str) -> str:
    chromium = require_program("chromium")
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    argv += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ]
    argv += [f"--user-data-dir={folder / 'profile'}", *options, url]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=BROWSER_SECONDS).stdout


def _url(doors: Doors, name: str) -> str:
    return f"http://127.0.0.1:{doors.port}/forward-auth/traefik/{name}"


def test_a_person_who_is_denied_reads_the_reason_and_the_decision(tmp_path: Path, doors: Doors) -> None:
    page = _browse(tmp_path, _url(doors, "openclaw"), "--dump-dom")
    assert "<h1>Access denied</h1>" in page
    assert "<dd>trusted_proxy_untrusted_source</dd>" in page
    assert "<dd>openclaw</dd>" in page


def test_script_in_a_configured_name_is_text_on_the_page(tmp_path: Path, doors: Doors) -> None:
    page = _browse(tmp_path, _url(doors, "script"), "--dump-dom")
    assert "trusted_proxy_missing_header_&lt;script&gt;" in page
    assert "<title>Access denied</title>" in page


@pytest.mark.parametrize("size", ["1200,700", "320,600"])
def test_the_page_is_painted_wide_and_narrow(tmp_path: Path, doors: Doors, size: str) -> None:
    picture = tmp_path / "page.png"
    _browse(tmp_path, _url(doors, "openclaw"), f"--window-size={size}", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")
