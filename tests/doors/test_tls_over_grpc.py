"""TLS at the gRPC door: who is who by certificate, and certificates that change while the service runs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization

from cases.build import PAIRS, gateway
from cases.messages import check_request
from doors.door import TLS_NAME, Served, ask, refused, serving, status_of
from support.certificates import Authority, Issued
from support.process import wait_until

ALLOWED = "allow:nick@example.com"
REFUSED = "deny:caller_not_allowed"
PRINCIPAL = "spiffe://cluster/envoy"
MESSAGE = check_request(PAIRS)

pytestmark = pytest.mark.only_grpcio  # the native engine has no TLS


def _client(root: Path, own: Issued | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root.read_bytes(),
        own.private_key.read_bytes() if own is not None else None,
        own.certificate.read_bytes() if own is not None else None,
    )


def _install(issued: Issued, directory: Path) -> None:
    """Put a certificate where the service reads it, each file in one move, as cert-manager and certbot do."""
    for source, name in ((issued.certificate, "server.pem"), (issued.private_key, "server.key")):
        _replace(directory / name, source.read_bytes())


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(path)


@dataclass(frozen=True)
class World:
    """A service with client certificates, and who may have issued one."""

    served: Served
    ours: Authority
    clients: Authority
    envoy: Issued


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("mtls")
    ours, clients = Authority(directory, "our authority"), Authority(directory, "client authority")
    _install(ours.issue("server-a", dns=TLS_NAME), directory)
    envoy = clients.issue("envoy", uri=PRINCIPAL)
    config = {
        "callers": {"principals": [PRINCIPAL, "proxy.example"]},
        "tls": {"certificate": "server.pem", "privateKey": "server.key", "clientCa": clients.certificate.name},
        "gateways": {
            "g": gateway(),
            "dns": gateway(callers={"principals": ["proxy.example"]}),
        },
    }
    with serving(directory, config, credentials=_client(ours.certificate, envoy)) as served:
        yield World(served, ours, clients, envoy)


def test_certificate_with_a_listed_name_may_ask(world: World) -> None:
    assert ask(world.served.address, MESSAGE, world.served.credentials).told == ALLOWED
    by_dns = _client(world.ours.certificate, world.clients.issue("by-dns", dns="proxy.example"))
    assert ask(world.served.address, MESSAGE, by_dns).told == ALLOWED


@pytest.mark.parametrize(
    "name", [PRINCIPAL + "2", "spiffe://cluster", PRINCIPAL.upper(), "spiffe://cluster/envoy/x", "spiffe://other/envoy"]
)
def test_certificate_with_another_name_may_not(world: World, name: str) -> None:
    stranger = _client(world.ours.certificate, world.clients.issue("stranger", uri=name))
    assert ask(world.served.address, MESSAGE, stranger).told == REFUSED


def test_common_name_is_no_principal(world: World) -> None:
    # The files' name becomes the subject's common name, which anybody who gets a certificate may choose.
    stranger = _client(world.ours.certificate, world.clients.issue("proxy.example", dns="other.example"))
    assert ask(world.served.address, MESSAGE, stranger).told == REFUSED


def test_gateway_wants_its_own_principal(world: World) -> None:
    message = check_request(PAIRS, gateway="dns")
    assert ask(world.served.address, message, world.served.credentials).told == REFUSED
    by_dns = _client(world.ours.certificate, world.clients.issue("by-dns-2", dns="proxy.example"))
    assert ask(world.served.address, message, by_dns).told == ALLOWED


def test_caller_without_a_certificate_or_with_a_foreign_one_gets_no_connection(world: World) -> None:
    directory = world.ours.certificate.parent
    foreign = Authority(directory, "foreign authority").issue("foreign", uri=PRINCIPAL)
    own = world.ours.issue("of-the-server", uri=PRINCIPAL)
    for credentials in (
        _client(world.ours.certificate),
        _client(world.ours.certificate, foreign),
        _client(world.ours.certificate, own),
        None,
    ):
        assert status_of(world.served.address, MESSAGE, credentials) == grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def renewing(tmp_path: Path) -> Iterator[tuple[Served, Path, Authority, Authority]]:
    """A service with plain TLS, whose certificate is of the first of two authorities."""
    first, second = Authority(tmp_path, "first authority"), Authority(tmp_path, "second authority")
    _install(first.issue("server-1", dns=TLS_NAME), tmp_path)
    config = {"tls": {"certificate": "server.pem", "privateKey": "server.key"}, "gateways": {"g": gateway()}}
    with serving(tmp_path, config, credentials=_client(first.certificate)) as served:
        yield served, tmp_path, first, second


def _is_of(served: Served, authority: Authority) -> bool:
    return status_of(served.address, MESSAGE, _client(authority.certificate)) == grpc.StatusCode.OK


def test_renewed_certificate_is_used_without_a_restart(renewing: tuple[Served, Path, Authority, Authority]) -> None:
    served, directory, first, second = renewing
    assert _is_of(served, first)
    assert not _is_of(served, second)
    _install(second.issue("server-2", dns=TLS_NAME), directory)
    assert _is_of(served, second)
    assert not _is_of(served, first)


@pytest.mark.parametrize("fault", ["garbage", "foreign key", "gone", "empty"])
def test_bad_new_certificate_leaves_the_old_one_in_use(
    renewing: tuple[Served, Path, Authority, Authority], fault: str
) -> None:
    served, directory, first, second = renewing
    if fault == "gone":
        (directory / "server.pem").unlink()
    elif fault == "foreign key":
        _replace(directory / "server.key", second.issue("other", dns=TLS_NAME).private_key.read_bytes())
    else:
        _replace(directory / "server.pem", b"" if fault == "empty" else b"-----BEGIN CERTIFICATE-----\nnonsense\n")
    for _ in range(2):
        assert _is_of(served, first)
    wait_until(lambda: any("old ones are kept" in line["event"] for line in served.logged()), "the fault in the log")
    # And once it is mended, the new one is used.
    _install(second.issue("server-2", dns=TLS_NAME), directory)
    assert _is_of(served, second)


def test_renewed_client_authority_shuts_out_what_the_old_one_issued(tmp_path: Path) -> None:
    ours, old, new = (Authority(tmp_path, name) for name in ("our authority", "old clients", "new clients"))
    _install(ours.issue("server-1", dns=TLS_NAME), tmp_path)
    _replace(tmp_path / "clients.pem", old.certificate.read_bytes())
    before, after = (
        _client(ours.certificate, authority.issue(f"c{n}", uri=PRINCIPAL)) for n, authority in enumerate((old, new))
    )
    config = {
        "callers": {"principals": [PRINCIPAL]},
        "tls": {"certificate": "server.pem", "privateKey": "server.key", "clientCa": "clients.pem"},
        "gateways": {"g": gateway()},
    }
    with serving(tmp_path, config, credentials=before) as served:
        assert status_of(served.address, MESSAGE, after) == grpc.StatusCode.UNAVAILABLE
        _replace(tmp_path / "clients.pem", new.certificate.read_bytes())
        assert status_of(served.address, MESSAGE, after) == grpc.StatusCode.OK
        assert status_of(served.address, MESSAGE, before) == grpc.StatusCode.UNAVAILABLE


def _tls(**files: str) -> dict[str, Any]:
    return {"tls": {"certificate": "server.pem", "privateKey": "server.key", **files}, "gateways": {"g": gateway()}}


def test_encrypted_key_is_refused_instead_of_asking_at_the_terminal(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue("server", dns=TLS_NAME)
    key = serialization.load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
    issued.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret"),
        )
    )
    assert "encrypted" in refused(tmp_path, _tls())


@pytest.mark.parametrize("missing", ["server.pem", "server.key", "clients.pem"])
def test_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", dns=TLS_NAME)
    _replace(tmp_path / "clients.pem", authority.certificate.read_bytes())
    (tmp_path / missing).unlink()
    said = refused(tmp_path, _tls(clientCa="clients.pem"))
    assert missing in said
    assert "No such file" in said


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.issue("server", dns=TLS_NAME)
    _replace(tmp_path / "server.key", authority.issue("other", dns=TLS_NAME).private_key.read_bytes())
    assert "server.key" in refused(tmp_path, _tls())


def test_client_authority_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path).issue("server", dns=TLS_NAME)
    (tmp_path / "clients.pem").write_text("nonsense", encoding="utf-8")
    assert "clients.pem" in refused(tmp_path, _tls(clientCa="clients.pem"))
