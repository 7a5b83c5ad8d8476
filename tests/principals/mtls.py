"""The cast of the tests with client certificates: an authority, extauthz, a Gateway, and Envoys between. No asserts.

An Envoy runs with the configuration that extauthz writes for it, in which a test may replace lines.
"""

import contextlib
import http.client
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from extauthz.proxies.envoy import Route, ServerTls, Settings, render
from support.certificates import Authority, Issued
from support.clients import TIMEOUT_SECONDS, Response
from support.echo_gateway import EchoGateway, echo_gateway
from support.envoy import running_envoy
from support.files import json_lines
from support.front import PATIENT
from support.ports import free_port
from support.service import Service, running_service

USER: Final = "nick@example.com"
PROXY: Final = "spiffe://cluster.local/ns/ingress/sa/pomerium"
OTHER: Final = "spiffe://cluster.local/ns/other/sa/eve"
BELOW: Final = "spiffe://cluster.local/ns/edge/"
DNS_NAME: Final = "proxy.example.com"

LISTED: Final = "127.0.0.7"
"""The address that is in trustedProxies where there is one."""
ELSEWHERE: Final = "127.0.0.8"
"""An address that is in none."""

IDENTITY: Final = (
    ("x-forwarded-user", USER),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-for", "203.0.113.10"),
)
"""What the identity-aware proxy sends."""

REQUIRE: Final = "require_client_certificate: true"
CA: Final = "validation_context:\n              trusted_ca:"


def _gateway(**changed: Any) -> dict[str, Any]:
    rules = {"userHeader": "x-forwarded-user", "allowUsers": [USER], "allowLoopback": True}
    trusted = {"trustedPrincipals": [PROXY, f"{BELOW}*", DNS_NAME]}
    return {**trusted, "auth": {"mode": "trusted-proxy", "trustedProxy": rules}, **changed}


GATEWAYS: Final = {
    "alone": _gateway(),
    "any": _gateway(trustedProxies=[LISTED]),
    "all": _gateway(trustedProxies=[LISTED], require="all"),
    "claw": _gateway(ruleset="openclaw-2026.9"),
}


@dataclass
class Mtls:
    """The cast. Envoys are started when a test first asks for them, and kept."""

    authority: Authority
    service: Service
    gateway: EchoGateway
    _server: Issued
    _directory: Path
    _stack: contextlib.ExitStack
    _fronts: dict[Any, int] = field(default_factory=dict)
    _certificates: dict[Any, Issued] = field(default_factory=dict)

    def certificate(self, *names: tuple[str, bytes], **how: Any) -> Issued:
        """Return a certificate with these names in it, of the authority unless `how` says otherwise."""
        key = (names, *how.items())
        if key not in self._certificates:
            file = f"client-{len(self._certificates)}"
            self._certificates[key] = self.authority.issue(file, names=names, **how)
        return self._certificates[key]

    def of(self, principal: str) -> Issued:
        """Return a certificate with this URI alone."""
        return self.certificate(("uri", principal.encode()))

    def front(self, *replaced: tuple[str, str], client_ca: bool = True, **settings: Any) -> int:
        """Return the port of an Envoy with these settings, in whose configuration these texts are replaced.

        Raises:
            ValueError: A text is not there to be replaced.
        """
        key = (replaced, client_ca, *settings.items())
        if key not in self._fronts:
            port, admin = free_port(), free_port()
            over_http = settings.get("ask_over") == "http"
            chosen = Settings(
                routes=tuple(
                    Route(
                        upstream=self.gateway.address,
                        gateway=name,
                        domains=(f"{name}.example.com",),
                        user_headers=("x-forwarded-user",),
                    )
                    for name in GATEWAYS
                ),
                extauthz=(self.service.http if over_http else self.service.address,),
                listen=f"127.0.0.1:{port}",
                admin=f"127.0.0.1:{admin}",
                **PATIENT,
                tls=ServerTls(
                    certificate=str(self._server.certificate),
                    private_key=str(self._server.private_key),
                    client_ca=str(self.authority.certificate) if client_ca else None,
                ),
                **settings,
            )
            text = render(chosen)
            for old, new in replaced:
                if old not in text:
                    raise ValueError(f"{old!r} is not in the configuration")
                text = text.replace(old, new)
            directory = self._directory / f"front-{len(self._fronts)}"
            directory.mkdir()
            self._stack.enter_context(running_envoy(text, admin_port=admin, directory=directory))
            self._fronts[key] = port
        return self._fronts[key]

    def send(
        self,
        port: int,
        shown: Issued | None,
        *,
        to: str = "alone",
        source: str = ELSEWHERE,
        headers: Sequence[tuple[str, str]] = IDENTITY,
    ) -> Response:
        """Send one request over TLS to a gateway, showing this certificate, from this address.

        Returns:
            The answer; status 0 where Envoy ended the connection instead.
        """
        return ask(self.authority, port, shown, host=f"{to}.example.com", headers=headers, source=source)

    def logged(self, decision: str) -> dict[str, Any]:
        """Return the decision log's line of a decision.

        Raises:
            LookupError: There is none yet.
        """
        for line in json_lines(self.service.program.log_text(), mixed=True):
            if line.get("id") == decision:
                return line
        raise LookupError(decision)


def ask(
    authority: Authority,
    port: int,
    shown: Issued | None,
    *,
    host: str,
    headers: Sequence[tuple[str, str]],
    source: str = ELSEWHERE,
) -> Response:
    """Do what `send` does, of any cast."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False  # it is an address
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.private_key)
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=TIMEOUT_SECONDS, context=context, source_address=(source, 0)
    )
    try:
        connection.putrequest("GET", "/chat", skip_host=True)
        for name, value in (("host", host), *headers):
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return Response(answer.status, tuple(answer.getheaders()), answer.read())
    except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
        return Response(0)
    finally:
        connection.close()


@contextlib.contextmanager
def running_mtls(directory: Path) -> Iterator[Mtls]:
    """Run the cast while the block runs."""
    authority = Authority(directory)
    with (
        contextlib.ExitStack() as stack,
        echo_gateway() as gateway,
        running_service(directory / "service", {"gateways": GATEWAYS}) as service,
        stack,
    ):
        yield Mtls(authority, service, gateway, authority.issue("front", dns="localhost"), directory, stack)


def told(answer: Response) -> str:
    """Say in a few words what a client was answered."""
    if answer.status == 200:
        return "allowed"
    reasons = answer.values("x-authz-reason")
    return f"{answer.status} {reasons[0]}" if reasons else f"{answer.status} by Envoy"
