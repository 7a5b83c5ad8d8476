"""TLS around Envoy: clients that must show a certificate, and Envoy that must show one to extauthz."""

import contextlib
import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from extauthz.proxies.envoy import ClientTls, Route, ServerTls
from support.certificates import Authority, Issued
from support.check_server import allow, check_server
from support.clients import TIMEOUT_SECONDS, http1
from support.echo_gateway import EchoGateway, echo_gateway
from support.front import Front, running_front
from support.service import Service, running_service
from support.world import CONFIG, IDENTITY, TRUSTED, USER

NAME = "extauthz.internal"
PRINCIPAL = "spiffe://example.com/envoy"


@dataclass(frozen=True)
class Secured:
    """A Gateway, and an extauthz that answers only to Envoys with the right certificate."""

    gateway: EchoGateway
    service: Service
    authority: Authority

    @contextlib.contextmanager
    def front(self, directory: Path, tls: ClientTls | None, *, well: bool = True) -> Iterator[Front]:
        """Envoy in front, which asks with this TLS."""
        route = Route(upstream=self.gateway.address, gateway="openclaw", user_headers=("x-forwarded-user",))
        endpoints = [self.service.address]
        with running_front(directory, routes=[route], extauthz=endpoints, extauthz_tls=tls, well=well) as front:
            yield front

    def tls(self, shown: Issued | None, *, ca: Path | None = None, server_name: str = NAME) -> ClientTls:
        """Envoy's side of TLS, with the certificate that it shows."""
        return ClientTls(
            ca=str(ca or self.authority.certificate),
            server_name=server_name,
            certificate=None if shown is None else str(shown.certificate),
            private_key=None if shown is None else str(shown.private_key),
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    authority = Authority(directory)
    server, own = authority.issue("server", dns=NAME), authority.issue("own", uri=PRINCIPAL)
    config = {
        **CONFIG,
        "callers": {"addresses": ["127.0.0.0/8"], "principals": [PRINCIPAL]},
        "tls": {
            "certificate": str(server.certificate),
            "privateKey": str(server.private_key),
            "clientCa": str(authority.certificate),
        },
    }
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), own.private_key.read_bytes(), own.certificate.read_bytes()
    )
    # The certificate has a name and no address: ask as Envoy does.
    options = (("grpc.ssl_target_name_override", NAME),)
    with (
        echo_gateway() as gateway,
        running_service(directory, config, credentials=credentials, channel_options=options) as service,
    ):
        yield Secured(gateway, service, authority)


@pytest.fixture(autouse=True)
def _forget(secured: Secured) -> None:
    secured.gateway.clear()


def test_an_envoy_with_the_right_certificate_is_answered(secured: Secured, tmp_path: Path) -> None:
    shown = secured.authority.issue("envoy", uri=PRINCIPAL)
    with secured.front(tmp_path, secured.tls(shown)) as front:
        assert http1(front.port, IDENTITY, source=TRUSTED).status == 200
    (arrived,) = secured.gateway.arrived
    assert arrived.values("x-authz-user") == [USER]


def test_an_envoy_with_another_certificate_is_no_caller(secured: Secured, tmp_path: Path) -> None:
    shown = secured.authority.issue("other", uri="spiffe://example.com/other", dns="envoy.internal")
    with secured.front(tmp_path, secured.tls(shown)) as front:
        answer = http1(front.port, IDENTITY, source=TRUSTED)
    assert (answer.status, answer.values("x-authz-reason")) == (403, ["caller_not_allowed"])
    assert secured.gateway.arrived == []


def test_an_envoy_without_a_certificate_or_without_tls_is_not_answered(secured: Secured, tmp_path: Path) -> None:
    for number, tls in enumerate((secured.tls(None), None)):
        with secured.front(tmp_path / str(number), tls, well=False) as front:
            assert http1(front.port, IDENTITY, source=TRUSTED).status == 503
    assert secured.gateway.arrived == []


def test_envoy_asks_no_extauthz_that_it_does_not_know(secured: Secured, tmp_path: Path) -> None:
    shown = secured.authority.issue("envoy", uri=PRINCIPAL)
    stranger = Authority(tmp_path, "another authority")
    wrong = (secured.tls(shown, server_name="other.internal"), secured.tls(shown, ca=stranger.certificate))
    for number, tls in enumerate(wrong):
        with secured.front(tmp_path / str(number), tls, well=False) as front:
            assert http1(front.port, IDENTITY, source=TRUSTED).status == 503
    assert secured.gateway.arrived == []


def test_a_client_must_show_a_certificate_and_is_known_by_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, own = authority.issue("front", dns="localhost"), authority.issue("client", uri="spiffe://example.com/proxy")
    other = Authority(tmp_path, "another authority")
    stranger = other.issue("stranger", uri="spiffe://example.com/proxy")
    tls = ServerTls(
        certificate=str(server.certificate),
        private_key=str(server.private_key),
        client_ca=str(authority.certificate),
    )
    with (
        echo_gateway() as gateway,
        check_server(lambda _: allow({"x-authz-user": "ours"})) as authorizer,
        running_front(
            tmp_path,
            routes=[Route(upstream=gateway.address, gateway="openclaw")],
            extauthz=[authorizer.address],
            tls=tls,
        ) as front,
    ):
        assert https(front.port, authority, own) == 200
        for shown in (None, stranger):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                https(front.port, authority, shown)
        assert http1(front.port).status == 0
    assert len(gateway.arrived) == len(authorizer.asked) == 1
    assert authorizer.asked[0].attributes.source.principal == b"spiffe://example.com/proxy"


def https(port: int, authority: Authority, shown: Issued | None) -> int:
    """The status of one request over TLS, with this certificate."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.private_key)
    connection = http.client.HTTPSConnection("localhost", port, timeout=TIMEOUT_SECONDS, context=context)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()
