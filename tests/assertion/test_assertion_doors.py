"""The cases through every door of the real service, and through real Envoy; the keys come by https."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from assertion.cases import CASES, EVE, FORGER, HEADER, Case, gateways
from assertion.issuer import USER, Issuer, TlsJwksServer
from cases.messages import FORMS, Form, check_request, read
from extauthz.proxies.envoy import Route
from forward_auth.asking import DIALECTS, Asked
from forward_auth.asking import ask as ask_over_http
from forward_auth.opening import told as told_over_http
from support.certificates import Authority
from support.clients import Refused, http1, http2, websocket
from support.echo_gateway import EchoGateway, echo_gateway
from support.front import Front, running_front
from support.process import wait_until
from support.service import Service, running_service
from support.world import STRANGER, TRUSTED
from telemetry.scrape import read_text, samples_of, scrape

PEER = "10.0.0.7"
SERVICE = "envoy.service.auth.v3.Authorization"


@dataclass
class Stage:
    """The service with its issuer, a Gateway, and Envoys in front as tests ask for them."""

    issuer: Issuer
    source: TlsJwksServer
    service: Service
    gateway: EchoGateway
    directory: Path
    stack: contextlib.ExitStack
    fronts: dict[str, Front] = field(default_factory=dict)

    @property
    def http_port(self) -> int:
        """The port of the forward-auth doors."""
        return int(self.service.http.rpartition(":")[2])

    @property
    def log(self) -> str:
        """Everything that the service has written: its own log, and every decision."""
        return self.service.program.log_text()

    def front(self, **settings: Any) -> Front:
        """The Envoy with these settings."""
        key = repr(sorted(settings.items()))
        if key not in self.fronts:
            over_http = settings.get("ask_over") == "http"
            routes = [
                Route(
                    gateway=name,
                    domains=(f"{name}.example.com",),
                    upstream=self.gateway.address,
                    user_headers=("x-forwarded-user",) if name in {"openclaw", "shadow"} else (),
                )
                for name in gateways("", PEER)
            ]
            running = running_front(
                self.directory / f"front-{len(self.fronts)}",
                routes=routes,
                extauthz=[self.service.http if over_http else self.service.address],
                **settings,
            )
            self.fronts[key] = self.stack.enter_context(running)
        return self.fronts[key]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("assertion")
    issuer, authority = Issuer(), Authority(directory)
    source = TlsJwksServer(authority.issue("localhost", dns="localhost"))
    source.serve(issuer.jwks)
    config = {
        "gateways": gateways(source.url, PEER, TRUSTED, jwksCa=str(authority.certificate)),
        "decisionLog": {"redact": []},
    }
    with (
        contextlib.ExitStack() as stack,
        echo_gateway("gateway") as gateway,
        running_service(directory / "service", config) as service,
        stack,
    ):
        yield Stage(issuer, source, service, gateway, directory, stack)
    source.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cases_over_grpc(case: Case, form: Form, stage: Stage) -> None:
    with grpc.insecure_channel(stage.service.address) as channel:
        check: Any = channel.unary_unary(f"/{SERVICE}/Check")
        message = check_request(case.headers(stage.issuer), form=form, gateway=case.gateway, peer=PEER)
        outcome = read(check(message, timeout=30))
    assert outcome.told == case.told
    assert outcome.status == (401 if case.told.endswith("user_missing") else 403) or outcome.passes


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cases_over_http(case: Case, dialect: str, stage: Stage) -> None:
    response = ask_over_http(dialect, stage.http_port, case.gateway, Asked(case.headers(stage.issuer), PEER))
    if case.told.startswith("shadow:"):
        assert response.status == 200
        assert not any(response.values("x-authz-user"))
    else:
        assert told_over_http(response) == case.told


@pytest.mark.parametrize(
    "settings",
    [{"encode_raw_headers": True}, {"encode_raw_headers": False}, {"ask_over": "http"}],
    ids=["raw", "joined", "http"],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_cases_through_real_envoy(case: Case, settings: dict[str, Any], stage: Stage) -> None:
    stage.gateway.clear()
    front = stage.front(**settings)
    headers = case.headers(stage.issuer)
    response = http1(front.port, headers, host=f"{case.gateway}.example.com", source=TRUSTED)
    result, _, what = case.told.partition(":")
    if result == "deny":
        assert (response.status, response.values("x-authz-reason")) == (401 if "user_missing" in what else 403, [what])
        assert not stage.gateway.arrived
        return
    assert response.status == 200
    (arrived,) = stage.gateway.arrived
    user = [what] if result == "allow" else []
    assert [value for value in arrived.values("x-authz-user") if value] == user
    if case.gateway in {"openclaw", "shadow"}:
        assert [value for value in arrived.values("x-forwarded-user") if value] == user


def test_a_good_token_of_somebody_who_is_not_the_proxy(stage: Stage) -> None:
    stage.gateway.clear()
    headers = [(HEADER, stage.issuer.token())]
    for client in (http1, http2):
        response = client(
            stage.front(encode_raw_headers=True).port, headers, host="claims.example.com", source=STRANGER
        )
        assert response.values("x-authz-reason") == ["trusted_proxy_untrusted_source"]
    assert not stage.gateway.arrived


def test_the_gateway_gets_the_token_as_it_came(stage: Stage) -> None:
    stage.gateway.clear()
    token = stage.issuer.token()
    http1(stage.front(encode_raw_headers=True).port, [(HEADER, token)], host="claims.example.com", source=TRUSTED)
    (arrived,) = stage.gateway.arrived
    assert arrived.values(HEADER) == [token]


def test_a_websocket_upgrade_is_held_to_it_too(stage: Stage) -> None:
    port = stage.front(encode_raw_headers=True).port
    with websocket(port, [(HEADER, stage.issuer.token())], host="claims.example.com", source=TRUSTED) as opened:
        assert opened.echo("hello") == "hello"
    with (
        pytest.raises(Refused) as refused,
        websocket(port, [(HEADER, FORGER.token())], host="claims.example.com", source=TRUSTED),
    ):
        pass
    assert refused.value.response.status == 403


def test_no_token_and_no_part_of_one_is_ever_logged(stage: Stage) -> None:
    good, forged = stage.issuer.token({"secret": "in-the-payload"}), FORGER.token()
    asked = [
        ("claims", [(HEADER, good)]),
        ("claims", [(HEADER, forged)]),
        ("claims", [(HEADER, good), (HEADER, forged)]),
        ("bearer", [("authorization", f"Bearer {good}")]),
        ("bearer", [("authorization", f"Bearer {forged}")]),
        ("openclaw", [(HEADER, good), ("x-forwarded-user", EVE)]),
        ("research", [(HEADER, good)]),
    ]
    for gateway, headers in asked:
        ask_over_http("traefik", stage.http_port, gateway, Asked(headers, PEER))
    ask_over_http("traefik", stage.http_port, "claims", Asked([(HEADER, good)], PEER, host="last.example.com"))
    wait_until(lambda: "last.example.com" in stage.log, "the last decision in the log")
    for token in (good, forged):
        for part in token.split("."):
            assert part not in stage.log
    assert "in-the-payload" not in stage.log
    assert f'"{HEADER}":true' in stage.log
    assert USER in stage.log


def test_the_signature_is_paid_once_a_session(stage: Stage) -> None:
    token = stage.issuer.token({"sid": "a session of its own"})

    def signatures() -> float:
        found = samples_of(read_text(scrape(stage.service.admin)))
        return found["extauthz_assertion_signatures_total", frozenset()]

    before = signatures()
    for _ in range(20):
        response = ask_over_http("nginx", stage.http_port, "claims", Asked([(HEADER, token)], PEER))
        assert told_over_http(response) == f"allow:{USER}"
    assert signatures() == before + 1
