"""docs/pomerium.md: its files and commands, run by real Envoy, extauthz and the Gateway that verifies.

Pomerium itself is a stand-in: what it sends, from the address that is its own. The page's addresses are replaced by
loopback ones; nothing else is.
"""

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
from support.clients import Refused, Response, http1, websocket
from support.envoy import running_envoy
from support.ports import free_port
from support.reference_gateway import running_gateway
from support.service import Service, running_service

PAGE: Final = Path(__file__).parents[2] / "docs" / "pomerium.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")

POMERIUM: Final = "127.0.0.7"
"""For the page's 10.0.0.7."""
HOST: Final = "openclaw.example.com"
USER: Final = "nick@example.com"
ASSERTION: Final = ("x-pomerium-jwt-assertion", "eyJhbGciOiJFUzI1NiJ9.eyJlbWFpbCI6Im5pY2tAZXhhbXBsZS5jb20ifQ.c2ln")
SENT: Final = (
    ("x-pomerium-claim-email", USER),
    ASSERTION,
    ("x-forwarded-for", "203.0.113.10"),
    ("x-forwarded-proto", "https"),
    ("x-request-id", "4f5d1d1e-6a0c-4c8e-9a3e-0d7a2b6c1f10"),
    ("x-envoy-external-address", "203.0.113.10"),
    ("x-envoy-expected-rq-timeout-ms", "30000"),
)
"""What Pomerium, which is built on Envoy, sends for who is signed in."""


def blocks(language: str, begins: str = "") -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    return [block for block in found if block.startswith(begins)]


def config() -> dict[str, Any]:
    (block,) = blocks("yaml", "# extauthz.yaml")
    found: dict[str, Any] = yaml.safe_load(block)
    return found


def command(name: str) -> list[str]:
    """The page's command of this name, as arguments."""
    (line,) = re.findall(rf"^\$ extauthz ({name} .*)$", TEXT, flags=re.MULTILINE)
    return shlex.split(line)


def without(*names: str) -> list[tuple[str, str]]:
    return [pair for pair in SENT if pair[0] not in names]


@dataclass(frozen=True)
class SetUp:
    """The page's set-up, running."""

    port: int
    gateway_port: int
    service: Service

    def send(self, headers: Any = SENT, *, source: str = POMERIUM, host: str = HOST, **request: Any) -> Response:
        return http1(self.port, headers, source=source, host=host, **request)


def option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1]


@contextlib.contextmanager
def set_up(directory: Path, *, over_http: bool) -> Iterator[SetUp]:
    """Run what the page shows."""
    written_for = yaml.safe_load(yaml.safe_dump(config()).replace("10.0.0.7", POMERIUM))
    shown = command("gateway")
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(running_service(directory / "service", written_for))
        gateway = stack.enter_context(
            running_gateway(
                directory,
                audience=option(shown, "--audience"),
                jwks=option(shown, "--jwks").replace("127.0.0.1:9192", service.http),
                user_header=option(shown, "--user-header"),
            )
        )
        port, admin = free_port(), free_port()
        places = {
            "extauthz.yaml": str(directory / "service" / "extauthz.yaml"),
            "10.0.0.5:8080": f"127.0.0.1:{port}",
            "openclaw=127.0.0.1:18789": f"openclaw=127.0.0.1:{gateway}",
        }
        argv = command("proxy-config envoy")
        argv = [places.get(word, word) for word in argv[: argv.index("--output")]]
        argv += [f"--admin=127.0.0.1:{admin}", "--timeout=10"]
        argv += ["--http", f"--extauthz={service.http}"] if over_http else [f"--extauthz={service.address}"]
        written = CliRunner().invoke(main, argv)
        assert written.exit_code == 0, written.output
        stack.enter_context(running_envoy(written.stdout, admin_port=admin, directory=directory))
        yield SetUp(port, gateway, service)


@pytest.fixture(scope="module", params=[False, True], ids=["grpc", "http"])
def pomerium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SetUp]:
    with set_up(tmp_path_factory.mktemp("pomerium"), over_http=request.param) as found:
        yield found


def values(answer: Response, name: str) -> list[str]:
    return [value for key, value in answer.json()["headers"] if key == name]


def test_who_pomerium_names_reaches_the_gateway_by_a_verified_stamp(pomerium: SetUp) -> None:
    answer = pomerium.send(method="POST", target="/chat?a=b", body=b"hello")
    assert answer.status == 200
    identity = answer.json()["identity"]
    assert (identity["user"], identity["gateway"], identity["peer"]) == (USER, "openclaw", POMERIUM)
    assert values(answer, "x-pomerium-claim-email") == values(answer, "x-authz-user") == [USER]
    assert values(answer, "x-pomerium-jwt-assertion") == [ASSERTION[1]]
    assert values(answer, "x-forwarded-for") == [f"203.0.113.10,{POMERIUM}"]
    assert [name for name, _ in answer.json()["headers"] if name.startswith("x-envoy")] == []


EMAIL: Final = "x-pomerium-claim-email"
REFUSED: Final[dict[str, tuple[int, list[tuple[str, str]]]]] = {
    "trusted_proxy_missing_header_x-pomerium-jwt-assertion": (403, without("x-pomerium-jwt-assertion")),
    "trusted_proxy_user_missing": (401, without(EMAIL)),
    "trusted_proxy_user_ambiguous": (403, [*SENT, (EMAIL, "eve@example.com")]),
    "trusted_proxy_user_not_allowed": (403, [(EMAIL, "eve@example.com"), *without(EMAIL)]),
    "trusted_proxy_origin_not_allowed": (403, [*SENT, ("origin", "https://evil.example")]),
    "header_alias_refused": (403, [*SENT, ("x.pomerium.claim.email", "eve@example.com")]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_wrong_is_told(pomerium: SetUp, reason: str) -> None:
    status, headers = REFUSED[reason]
    answer = pomerium.send(headers)
    assert (answer.status, answer.values("x-authz-reason")) == (status, [reason])


def test_blank_headers_are_none(pomerium: SetUp) -> None:
    blank = pomerium.send([*without("x-pomerium-jwt-assertion"), ("x-pomerium-jwt-assertion", " ")])
    assert blank.values("x-authz-reason") == ["trusted_proxy_missing_header_x-pomerium-jwt-assertion"]
    assert pomerium.send([*without(EMAIL), (EMAIL, " ")]).values("x-authz-reason") == ["trusted_proxy_user_missing"]


def test_who_does_not_come_from_pomerium_is_refused_with_all_of_its_headers(pomerium: SetUp) -> None:
    forged = [
        ("x-authz-user", USER),
        ("x-authz-stamp", "a.b.c"),
        ("x-extauthz-peer", POMERIUM),
        ("x-real-ip", POMERIUM),
    ]
    answer = pomerium.send([*SENT, ("x-forwarded-for", POMERIUM), *forged], source="127.0.0.8")
    assert (answer.status, answer.values("x-authz-reason")) == (403, ["trusted_proxy_untrusted_source"])
    # And around Envoy, from any address, the Gateway wants a stamp.
    around = http1(pomerium.gateway_port, [*SENT, *forged[:1]], host=HOST, source=POMERIUM)
    assert (around.status, around.json()) == (401, {"error": "stamp_missing"})


def test_what_the_browser_sends_through_pomerium_makes_nobody_someone_else(pomerium: SetUp) -> None:
    forged = [("x-authz-user", "eve"), ("x-authz-stamp", "a.b.c"), ("x-authz-gateway", "other"), ("connection", EMAIL)]
    answer = pomerium.send([*SENT, *forged[:-1]])
    assert (answer.json()["identity"]["user"], values(answer, "x-authz-user")) == (USER, [USER])
    assert values(answer, "x-authz-gateway") == ["openclaw"]
    assert pomerium.send([*SENT, forged[-1]]).values("x-authz-reason") == ["trusted_proxy_user_missing"]


def test_without_the_browsers_host_no_route_is_found(pomerium: SetUp) -> None:
    assert pomerium.send(host="10.0.0.5:8080").status == 404


def test_a_websocket_is_held_to_the_same(pomerium: SetUp) -> None:
    own = ("origin", "https://openclaw.example.com")
    with websocket(pomerium.port, [*SENT, own], host=HOST, source=POMERIUM) as opened:
        assert opened.hello["identity"]["user"] == USER
        assert opened.echo("hello") == "hello"
    for headers, source, reason in (
        ([*SENT, ("origin", "https://evil.example")], POMERIUM, "trusted_proxy_origin_not_allowed"),
        ([*without("x-pomerium-jwt-assertion"), own], POMERIUM, next(iter(REFUSED))),
        ([*SENT, own], "127.0.0.8", "trusted_proxy_untrusted_source"),
    ):
        with pytest.raises(Refused) as refused, websocket(pomerium.port, headers, host=HOST, source=source):
            pass
        assert refused.value.response.values("x-authz-reason") == [reason]


def test_what_the_page_says_of_the_gateway_and_quotes_is_so(tmp_path: Path) -> None:
    file = tmp_path / "extauthz.yaml"
    file.write_text(yaml.safe_dump(config()), encoding="utf-8")
    argv = command("proxy-config envoy")
    argv = [str(file) if word == "extauthz.yaml" else word for word in argv[: argv.index("--output")]]
    lines = {line.strip() for line in CliRunner().invoke(main, argv).stdout.splitlines()}
    (quoted,) = blocks("yaml", "# from envoy.yaml")
    assert [line for line in quoted.splitlines()[1:] if line not in lines] == []
    (shown,) = blocks("json")
    printed = CliRunner().invoke(main, ["proxy-config", "openclaw", "--config", str(file)])
    assert json.loads(shown) == json.loads(printed.stdout)
    checked = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert (checked.exit_code, checked.stdout) == (0, f"{file}: 1 gateway, good\n")


def test_pomeriums_part_names_what_extauthz_wants() -> None:
    (block,) = blocks("yaml", "# pomerium.yaml")
    shown = yaml.safe_load(block)
    rules = config()["gateways"]["openclaw"]
    assert rules["auth"]["trustedProxy"]["userHeader"] in {name.lower() for name in shown["jwt_claims_headers"]}
    (route,) = shown["routes"]
    assert route["from"].removeprefix("https://") in rules["hosts"]
    assert route["to"].removeprefix("http://") == option(command("proxy-config envoy"), "--listen")


def test_every_reason_of_its_table_was_seen_and_every_link_leads_somewhere() -> None:
    told = set(re.findall(r"^\| 40[13] `(\S+)` \|", TEXT, flags=re.MULTILINE))
    assert told == {*REFUSED, "trusted_proxy_untrusted_source"} - {"header_alias_refused"}
    for target in re.findall(r"\]\(([\w.-]+\.md)", TEXT):
        assert (PAGE.parent / target).exists(), target
