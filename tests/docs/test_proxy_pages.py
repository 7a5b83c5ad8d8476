"""docs/caddy.md, nginx.md, traefik.md: their files and commands run by real proxies; who signs people in is a stand-in.

The addresses and paths of the pages are replaced by free ports and temporary files; nothing else is.
"""

import base64
import contextlib
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner

from extauthz.cli import main
from support.attacks import on_page, table
from support.clients import Refused, Response, http1, websocket
from support.echo_gateway import Arrived, EchoGateway, echo_gateway
from support.http_proxies import run_written
from support.ports import free_port
from support.rogue_door import RogueDoor, rogue_door
from support.service import running_service
from support.stand import FORGED, STAMPED, http_port

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = ("caddy", "nginx", "traefik")
every_page = pytest.mark.parametrize("name", PAGES)

SIGNED_IN: Final = {"nick": "nick@example.com", "eve": "eve@example.com"}


@dataclass(frozen=True)
class Page:
    """What a page shows."""

    name: str
    text: str

    def blocks(self, language: str, begins: str = "") -> list[str]:
        """The code blocks in one language whose first line begins so."""
        found: list[str] = re.findall(rf"```{language}\n(.*?)```", self.text, flags=re.DOTALL)
        return [block for block in found if block.startswith(begins)]

    @property
    def config(self) -> dict[str, Any]:
        """extauthz's file."""
        (block,) = self.blocks("yaml", "# extauthz.yaml")
        found: dict[str, Any] = yaml.safe_load(block)
        return found

    @property
    def command(self) -> list[str]:
        """The command that writes the proxy's file, without its --output."""
        (line,) = re.findall(r"^\$ extauthz (proxy-config .*)$", self.text, flags=re.MULTILINE)
        argv = shlex.split(line)
        return argv[: argv.index("--output")]


def page(name: str) -> Page:
    return Page(name, (DOCS / f"{name}.md").read_text(encoding="utf-8"))


def identity_provider(head: bytes) -> bytes:
    """Stand in for oauth2-proxy and its like: a cookie says who it is, its own pages say that they are."""
    line, _, fields = head.partition(b"\r\n")
    if not line.startswith((b"GET /oauth2/auth ", b"GET /verify ")):
        return b"HTTP/1.1 200 OK\r\nX-Page: sign-in\r\nContent-Length: 0\r\n\r\n"
    cookie = re.search(rb"session=(\w+)", fields)
    user = SIGNED_IN.get(cookie[1].decode()) if cookie else None
    if user is None:
        return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    names = ("X-Auth-Request-Email", "X-Auth-Request-User", "X-Forwarded-User")
    said = "".join(f"{name}: {user}\r\n" for name in names)
    return f"HTTP/1.1 202 Accepted\r\n{said}Content-Length: 0\r\n\r\n".encode()


def sign_in(name: str, who: str) -> list[tuple[str, str]]:
    """What a browser sends once its user is signed in."""
    if name == "caddy":
        token = base64.b64encode(f"{SIGNED_IN[who]}:correct horse".encode()).decode()
        return [("Authorization", f"Basic {token}")]
    return [("Cookie", f"session={who}")]


@dataclass(frozen=True)
class SetUp:
    """A page's set-up, running."""

    name: str
    port: int
    gateway: EchoGateway
    user_header: str
    provider: RogueDoor
    written: str

    def send(self, headers: Any, **request: Any) -> tuple[Response, list[Arrived]]:
        self.gateway.clear()
        return http1(self.port, headers, **request), self.gateway.arrived


@contextlib.contextmanager
def set_up(name: str, directory: Path) -> Iterator[SetUp]:
    """Run what a page shows."""
    shown = page(name)
    config = directory / "extauthz.yaml"
    config.write_text(yaml.safe_dump(shown.config), encoding="utf-8")
    with (
        echo_gateway() as gateway,
        rogue_door() as provider,
        running_service(directory / "service", shown.config) as service,
    ):
        provider.answer = identity_provider
        port = free_port()
        file = directory / "traefik.yaml"
        places = {
            "extauthz.yaml": str(config),
            "127.0.0.1:18789": gateway.address,
            "127.0.0.1:4180": provider.address,
            "127.0.0.1:4181": provider.address,
            "/etc/traefik/traefik.yaml": str(file),
            "/etc/caddy/who.caddy": str(directory / "who.caddy"),
        }
        for block in shown.blocks("caddyfile", "# /etc/caddy/who.caddy"):
            (directory / "who.caddy").write_text(block, encoding="utf-8")
        argv = [replaced(word, places) for word in shown.command]
        argv += [f"--listen=127.0.0.1:{port}", f"--extauthz=127.0.0.1:{http_port(service)}"]
        if name != "traefik":  # which has no such option
            argv.append("--timeout=10")
        if name == "nginx":
            argv += [f"--directory={directory}", f"--pid={directory / 'pid'}", f"--error-log={directory / 'error.log'}"]
            argv.append(f"--access-log={directory / 'access.log'}")
        written = CliRunner().invoke(main, argv)
        assert written.exit_code == 0, written.output
        with run_written(name, directory, written.stdout, port):
            user_header = shown.config["gateways"]["openclaw"]["auth"]["trustedProxy"]["userHeader"]
            yield SetUp(name, port, gateway, user_header, provider, written.stdout)


def replaced(word: str, places: dict[str, str]) -> str:
    for shown, real in places.items():
        word = word.replace(shown, real)
    return word


@pytest.fixture(scope="module", params=PAGES)
def running_page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SetUp]:
    """Each page's set-up in turn."""
    with set_up(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


def test_who_is_signed_in_and_allowed_reaches_the_gateway_by_name(running_page: SetUp) -> None:
    answer, (arrived,) = running_page.send(sign_in(running_page.name, "nick"), method="POST", body=b"all of it")
    assert answer.status == 200
    assert arrived.values("x-authz-user") == arrived.values(running_page.user_header) == ["nick@example.com"]
    assert [len(arrived.values(name)) for name in STAMPED] == [1, 1, 1, 1]
    assert arrived.body == "all of it"
    assert not arrived.values("authorization")


def test_who_is_signed_in_and_not_allowed_is_told_why(running_page: SetUp) -> None:
    answer, arrived = running_page.send(sign_in(running_page.name, "eve"))
    assert (answer.status, arrived) == (403, [])
    assert answer.values("x-authz-reason") == ["trusted_proxy_user_not_allowed"]
    assert answer.json()["error"] == "trusted_proxy_user_not_allowed"


def test_who_is_not_signed_in_gets_nowhere_whatever_they_send(running_page: SetUp) -> None:
    forged = [(name, "nick@example.com") for name in (*STAMPED, running_page.user_header, "x-auth-request-user")]
    for headers in (
        [],
        forged,
        [("Cookie", "session=nobody"), *forged],
        [("Authorization", "Basic bmljazo="), *forged],
    ):
        answer, arrived = running_page.send(headers)
        assert arrived == []
        assert answer.status == 401


def test_who_is_signed_in_is_nobody_else_whatever_they_send(running_page: SetUp) -> None:
    forged = [(name, FORGED) for name in (*STAMPED, running_page.user_header)]
    for who, status in (("nick", 200), ("eve", 403)):
        for headers in ([*sign_in(running_page.name, who), *forged], [*forged, *sign_in(running_page.name, who)]):
            answer, arrived = running_page.send(headers)
            assert answer.status == status
            assert not [value for one in arrived for _, value in one.headers if FORGED in value]


def test_a_websocket_is_opened_by_who_may(running_page: SetUp) -> None:
    origin = ("Origin", "https://openclaw.example.com")
    with websocket(running_page.port, [*sign_in(running_page.name, "nick"), origin]) as opened:
        assert opened.echo("hello") == "hello"
    for headers in ([origin], [*sign_in(running_page.name, "eve"), origin]):
        with pytest.raises(Refused), websocket(running_page.port, headers):
            pass
    with (
        pytest.raises(Refused) as refused,
        websocket(running_page.port, [*sign_in(running_page.name, "nick"), ("Origin", "https://evil.example")]),
    ):
        pass
    assert refused.value.response.values("x-authz-reason") == ["trusted_proxy_origin_not_allowed"]


def test_the_pages_of_who_signs_in_are_its_own(running_page: SetUp) -> None:
    paths = {"nginx": "/oauth2/start", "traefik": "/_oauth/callback"}
    if running_page.name in paths:
        answer, arrived = running_page.send([], target=paths[running_page.name])
        assert (answer.status, answer.values("x-page"), arrived) == (200, ["sign-in"], [])
    else:
        assert not running_page.provider.asked


def test_a_browser_whose_user_is_not_signed_in_is_sent_to_where_they_can(running_page: SetUp) -> None:
    answer, arrived = running_page.send([("Accept", "text/html,*/*")], target="/chat")
    assert arrived == []
    if running_page.name == "nginx":
        assert (answer.status, answer.values("location")) == (302, ["/oauth2/start?rd=/chat"])
    else:  # there the step answers the browser itself
        assert answer.status == 401


@every_page
def test_what_a_page_quotes_is_in_the_file(name: str, tmp_path: Path) -> None:
    shown = page(name)
    config = tmp_path / "extauthz.yaml"
    config.write_text(yaml.safe_dump(shown.config), encoding="utf-8")
    argv = [str(config) if word == "extauthz.yaml" else word for word in shown.command]
    written = CliRunner().invoke(main, argv).stdout
    lines = {line.strip().removeprefix("- ") for line in written.splitlines()}
    language = {"caddy": "caddyfile", "nginx": "nginx", "traefik": "yaml"}[name]
    quoted = shown.blocks(language, "# from ")
    assert len(quoted) >= 2
    for block in quoted:
        assert [line for line in block.splitlines()[1:] if line.strip() not in lines] == []


@every_page
def test_the_gateways_file_is_what_the_command_prints(name: str, tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(yaml.safe_dump(page(name).config), encoding="utf-8")
    (shown,) = page(name).blocks("json")
    printed = CliRunner().invoke(main, ["proxy-config", "openclaw", "--config", str(config)])
    assert json.loads(shown) == json.loads(printed.stdout)


@every_page
def test_its_file_is_good(name: str, tmp_path: Path) -> None:
    config = tmp_path / "extauthz.yaml"
    config.write_text(yaml.safe_dump(page(name).config), encoding="utf-8")
    checked = CliRunner().invoke(main, ["check", "--config", str(config)])
    assert (checked.exit_code, checked.stdout) == (0, f"{config}: 1 gateway, good\n")


@every_page
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([\w.-]+\.md)", page(name).text):
        assert (DOCS / target).exists(), target


def test_the_table_of_attacks_is_what_is_on_record() -> None:
    assert on_page() == table()
