"""TLS as a probe sees it: through real Envoy and nginx that end it, and certificates that nobody should accept."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from extauthz.cli import main
from extauthz.proxies.envoy import ServerTls
from probe.cast import HOP, USER, USER_HEADER, Cast, Probed, instead, probe
from probe.rogue_server import says, serving
from support.certificates import Authority, Issued
from support.sign_in_hop import sign_in_hop

NAME: Final = "localhost"
HALF_A_YEAR: Final = "max-age=15552000; includeSubDomains"
GOOD: Final = {"tls", "tls_version", "tls_expiry", "hsts"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues the certificates, and whom the probes trust by --ca."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    """A certificate of the name that is asked."""
    return authority.issue("server", dns=NAME)


def asked(
    port: int, authority: Authority, *arguments: str, config: Path | None = None, signed_in: bool = False
) -> Probed:
    url = f"https://{NAME}:{port}/"
    return probe(url, "--ca", str(authority.certificate), *arguments, config=config, signed_in=signed_in)


@contextlib.contextmanager
def envoy(cast: Cast, issued: Issued, *, hsts: str | None = HALF_A_YEAR, oldest: str | None = None) -> Iterator[int]:
    """Run Envoy with TLS of its own while the block runs, on the port that the block gets."""

    def careless(config: dict[str, Any]) -> None:
        (listener,) = config["static_resources"]["listeners"]
        (chain,) = listener["filter_chains"]
        common = chain["transport_socket"]["typed_config"]["common_tls_context"]
        if oldest is not None:
            # A version alone is not enough: Envoy's usual ciphers are none of the old ones.
            ciphers = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"]
            common["tls_params"] = {"tls_minimum_protocol_version": oldest, "cipher_suites": ciphers}
        if hsts is not None:
            header = {"header": {"key": "strict-transport-security", "value": hsts}}
            chain["filters"][0]["typed_config"]["route_config"]["response_headers_to_add"] = [header]

    tls = ServerTls(certificate=str(issued.certificate), private_key=str(issued.private_key))
    with cast.behind_envoy(careless, tls=tls) as hop:
        yield hop.behind


@contextlib.contextmanager
def nginx(
    cast: Cast, issued: Issued, *, hsts: str | None = HALF_A_YEAR, protocols: str = "TLSv1.2 TLSv1.3"
) -> Iterator[int]:
    """Run nginx with TLS of its own while the block runs, on the port that the block gets."""

    def careless(text: str) -> str:
        lines = [f"ssl_certificate {issued.certificate};", f"ssl_certificate_key {issued.private_key};"]
        lines += [f"ssl_protocols {protocols};", "ssl_ciphers DEFAULT:@SECLEVEL=0;"]
        text = instead(text, " default_server;", f" default_server ssl;\n{' '.join(lines)}")
        if hsts is None:
            return text
        added = f'add_header Strict-Transport-Security "{hsts}" always;'
        return instead(
            text, "add_header Cache-Control no-store always;", f"add_header Cache-Control no-store always; {added}"
        )

    with cast.behind("nginx", careless) as hop:
        yield hop.behind


@pytest.mark.parametrize("program", [envoy, nginx])
def test_good_tls_is_passed(cast: Cast, authority: Authority, issued: Issued, program: Any) -> None:
    with program(cast, issued) as port:
        found = asked(port, authority, config=cast.config)
    assert (found.status, found.holes) == (0, set())
    assert found.ids("passed") >= GOOD


@pytest.mark.parametrize("program", [envoy, nginx])
@pytest.mark.parametrize("hsts", [None, "max-age=0", "max-age=3600", "includeSubDomains"])
def test_https_without_hsts_that_lasts_is_a_hole(
    cast: Cast, authority: Authority, issued: Issued, program: Any, hsts: str | None
) -> None:
    with program(cast, issued, hsts=hsts) as port:
        found = asked(port, authority, config=cast.config)
    assert (found.status, found.holes) == (1, {"hsts"})


def test_an_envoy_that_speaks_old_tls_is_found(cast: Cast, authority: Authority, issued: Issued) -> None:
    with envoy(cast, issued, oldest="TLSv1_0") as port:
        found = asked(port, authority, config=cast.config)
    assert (found.holes, found.seen("tls_version")) == ({"tls_version"}, "agrees on TLSv1.1")


def test_an_nginx_that_speaks_old_tls_is_found(cast: Cast, authority: Authority, issued: Issued) -> None:
    with nginx(cast, issued, protocols="TLSv1.1 TLSv1.2") as port:
        found = asked(port, authority, config=cast.config)
    assert (found.holes, found.seen("tls_version")) == ({"tls_version"}, "agrees on TLSv1.1")


def test_everything_is_tested_through_tls(cast: Cast, authority: Authority, issued: Issued) -> None:
    with cast.behind("caddy") as inner:
        front = sign_in_hop(
            inner.behind, source=HOP, user=USER, user_header=USER_HEADER, certificate=issued, hsts=HALF_A_YEAR
        )
        with front as hop:
            found = asked(hop.port, authority, config=cast.config, signed_in=True)
    assert (found.status, found.holes) == (0, set())
    assert {*GOOD, "identity_arrives", "websocket_identity", "forged_websocket"} <= found.ids("passed")


@pytest.mark.parametrize(("days", "ends_soon"), [((-80, 10), True), ((-1, 5), False), ((-1, 300), False)])
def test_a_certificate_that_ends_soon_for_its_life_is_a_hole(
    authority: Authority, days: tuple[float, float], ends_soon: bool
) -> None:
    certificate = authority.issue("days", dns=NAME, days=days)
    with sign_in_hop(1, source=HOP, user=USER, user_header=USER_HEADER, certificate=certificate) as hop:
        # Nobody is behind it: only the handshake counts.
        done = CliRunner().invoke(main, ["probe", f"https://{NAME}:{hop.port}/", "--ca", str(authority.certificate)])
    assert done.exit_code == 2
    with serving(lambda connection, _: connection.sendall(says("401 No")), context(certificate)) as port:
        found = asked(port, authority)
    assert ("tls_expiry" in found.holes) is ends_soon


def context(certificate: Issued) -> Any:
    import ssl  # noqa: PLC0415

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate.certificate, certificate.private_key)
    return made


@pytest.mark.parametrize("wrong", ["name", "authority", "time"])
def test_to_whom_the_certificate_does_not_name_nothing_is_sent(
    authority: Authority, tmp_path: Path, wrong: str
) -> None:
    heads: list[bytes] = []
    issuer = Authority(tmp_path) if wrong == "authority" else authority
    days = (-3.0, -1.0) if wrong == "time" else (-1.0, 1.0)
    certificate = issuer.issue("wrong", dns="other.example.com" if wrong == "name" else NAME, days=days)
    with serving(lambda _, head: heads.append(head), context(certificate)) as port:
        found = asked(port, authority, signed_in=True)
    assert (found.status, found.holes, heads) == (1, {"tls"}, [])
    assert found.ids("passed") == set()


def test_any_certificate_is_accepted_only_where_that_is_asked_for(tmp_path: Path) -> None:
    certificate = Authority(tmp_path).issue("own", dns="other.example.com")
    with serving(lambda connection, _: connection.sendall(says("401 No")), context(certificate)) as port:
        url = f"https://{NAME}:{port}/"
        refused = probe(url, signed_in=False)
        accepted = probe(url, "--accept-any-certificate-insecurely", signed_in=False)
    assert refused.holes == {"tls"}
    assert "tls" in accepted.ids("not_tested")
    assert "no_identity" in accepted.ids("passed")


@pytest.mark.parametrize(
    ("answer", "hole"),
    [
        (says("301 Moved", b"", "location: https://localhost/"), False),
        (says("301 Moved", b"", "location: http://localhost/"), True),
        (says("200 OK", b"hello"), True),
        (says("401 Unauthorized"), True),
    ],
)
def test_plain_http_is_asked_only_at_the_port_given_and_must_lead_to_https(
    authority: Authority, issued: Issued, answer: bytes, hole: bool
) -> None:
    heads: list[bytes] = []

    def plain(connection: Any, head: bytes) -> None:
        heads.append(head)
        connection.sendall(answer)

    tls = serving(lambda connection, _: connection.sendall(says("401 No")), context(issued))
    with serving(plain) as http, tls as port:
        assert "http_redirect" in asked(port, authority, signed_in=True).ids("not_tested")
        assert heads == []
        found = asked(port, authority, "--http-port", str(http), signed_in=True)
    assert ("http_redirect" in found.holes) is hole
    assert (len(heads), b"cookie" in heads[0].lower()) == (1, False)
