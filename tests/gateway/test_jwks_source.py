"""A JWKS source that is slow, huge, wrong or gone, and sources that are refused from the start."""

import datetime as dt
import http.client
import json
import math
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from extauthz.gateway import JwksError, StampRefused, StampVerifier
from extauthz.gateway.keyset import MAX_JWKS_BYTES, MAX_JWKS_KEYS, parse_jwks
from extauthz.gateway.sources import _FromHttp, open_source
from gateway.forge import HOST, USER, Forge
from gateway.servers import JwksServer


def reason(verifier: StampVerifier, stamp: str) -> str:
    with pytest.raises(StampRefused) as raised:
        verifier.verify(stamp, method="GET", host=HOST)
    return raised.value.reason


def user(verifier: StampVerifier, stamp: str) -> str:
    return verifier.verify(stamp, method="GET", host=HOST).user


@pytest.mark.parametrize(
    "where",
    [
        "http://example.com/jwks.json",
        "http://10.0.0.1/jwks.json",
        "http://127.0.0.1.evil.example/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/jwks.json",
        "data://x",
        "gopher://127.0.0.1/",
        "file://evil.example/etc/keys",
        "https://user:secret@example.com/",
        "https://example.com/#keys",
        "https://",
        "http://[::1",
        "https://example.com:99999/",
    ],
)
def test_a_source_that_others_on_the_way_can_change_is_refused(where: str) -> None:
    with pytest.raises(JwksError) as raised:
        open_source(where)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "where", ["https://example.com/jwks.json", "http://[::1]:9192/k", "http://localhost/", "http://127.9.9.9/"]
)
def test_https_and_loopback_are_sources(where: str) -> None:
    open_source(where)


def test_a_loopback_name_that_leads_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, source: JwksServer) -> None:
    monkeypatch.setattr("extauthz.gateway.sources._is_loopback", lambda host: host == "localhost")
    with pytest.raises(JwksError, match="leads away"):
        open_source(source.url.replace("127.0.0.1", "localhost"))()


def test_keys_from_a_url_a_file_and_a_value(tmp_path: Path, source: JwksServer, forge: Forge) -> None:
    source.serve(forge.jwks)
    path = tmp_path / "a b.json"
    path.write_text(json.dumps(forge.jwks))
    for where in (source.url, str(path), path, path.as_uri(), forge.jwks):
        with forge.verifier(jwks=where) as verifier:
            verifier.load()
            assert user(verifier, forge.stamp()) == USER


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>Sign in to the hotel's network</html>",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [1, null, "x", [], {}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256"}]}',
        b"[" * 5000,
        b"\xff\xff",
        b'{"keys": [' + b'{"kty":"oct","k":"AAAA"},' * 30 + b'{"kty":"RSA","n":"AQAB","e":"AQAB"}]}',
    ],
)
def test_a_wrong_source(source: JwksServer, forge: Forge, document: bytes) -> None:
    source.serve(document)
    with forge.verifier(jwks=source.url) as verifier:
        with pytest.raises(JwksError):
            verifier.load()
        assert reason(verifier, forge.stamp()) == "stamp_keys_unavailable"


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 500])
def test_a_source_that_redirects_or_fails(source: JwksServer, forge: Forge, status: int) -> None:
    good = JwksServer()
    good.serve(forge.jwks)
    source.serve(b"" if status == 204 else forge.jwks, status=status, Location=good.url)
    with pytest.raises(JwksError, match=str(status)):
        open_source(source.url)()
    assert good.requests == 0
    good.close()


def test_a_huge_source(source: JwksServer) -> None:
    source.serve(b" " * (MAX_JWKS_BYTES + 1))
    with pytest.raises(JwksError, match="longer"):
        open_source(source.url)()


def test_an_endless_source(source: JwksServer) -> None:
    source.serve(b" " * 10_000_000, Content_Length="99999999999")
    with pytest.raises(JwksError, match="longer"):
        open_source(source.url)()


def test_a_huge_file(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(b" " * (MAX_JWKS_BYTES + 1))
    with pytest.raises(JwksError, match="longer"):
        open_source(path)()


def test_a_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(JwksError):
            open_source(path)()


def test_a_source_cut_short(source: JwksServer, forge: Forge) -> None:
    document = json.dumps(forge.jwks).encode()
    source.serve(document, Content_Length=str(len(document) + 100))
    with pytest.raises(JwksError, match="IncompleteRead"):
        open_source(source.url)()


def test_a_source_that_never_answers(source: JwksServer) -> None:
    source.hold.clear()
    with pytest.raises(JwksError, match=r"http://127.0.0.1"):
        open_source(source.url, timeout=0.2)()


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_a_source_that_drips(source: JwksServer, forge: Forge, connection: str) -> None:
    source.serve(forge.jwks, Connection=connection)
    source.drip_seconds = 0.05
    with pytest.raises(JwksError, match="longer than"):
        open_source(source.url, timeout=0.3)()


def test_a_source_that_drips_its_header() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                for byte in b"HTTP/1.1 200 OK\r\nx-pad: " + b"a" * 1000:
                    try:
                        connection.sendall(bytes([byte]))
                    except OSError:
                        return
                    if ended.wait(0.05):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(JwksError, match="longer than"):
            open_source(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)()
        ended.set()
        thread.join()


def test_a_body_without_a_length_is_not_taken_for_whole_where_it_was_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                # If it was cut before there was a connection to cut, it ends some time, and is cut all the same.
                for _ in range(500):
                    if ended.wait(0.02):
                        return
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        fetch = open_source(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
        # So that the deadline is looked at by nobody but the one who cuts.
        assert isinstance(fetch, _FromHttp)
        get = fetch._get
        fetch._get = lambda connection, opened, _: get(connection, opened, math.inf)  # type: ignore[method-assign,assignment]
        with pytest.raises(JwksError, match="longer than"):
            fetch()
        ended.set()
        thread.join()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.pem").write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "tls.pem")
    return server, ssl.create_default_context(cadata=pem.decode())


def test_a_tls_connection_that_was_cut_is_never_read_on_raw(tmp_path: Path) -> None:
    for_server, for_client = self_signed(tmp_path)
    ours, theirs = socket.socketpair()
    served: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: served.append(for_server.wrap_socket(theirs, server_side=True)))
    thread.start()
    connection = http.client.HTTPConnection("localhost")
    with for_client.wrap_socket(ours, server_hostname="localhost") as secure:
        thread.join()
        connection.sock = secure
        # TLS 1.3 sends its session tickets first.
        served[0].sendall(b"x")
        assert secure.recv(1) == b"x"
        with socket.socket(fileno=os.dup(served[0].fileno())) as wire:
            wire.sendall(b"plain text, from anybody on the way")
        _FromHttp._cut(connection, [], threading.Event())
        with pytest.raises(OSError, match=r"WRONG_VERSION|SSL"):
            secure.recv(100)
    served[0].close()


def test_a_source_that_talks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(JwksError):
            open_source(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=2)()
        thread.join()


def change(jwks: dict[str, Any], **members: Any) -> dict[str, Any]:
    [entry] = jwks["keys"]
    return {"keys": [{name: value for name, value in {**entry, **members}.items() if value is not None}]}


@pytest.mark.parametrize(
    "members",
    [
        {"kid": "mine"},
        {"kid": None},
        {"kid": ["a"]},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"use": "enc"},
        {"crv": "P-384"},
        {"crv": ["P-256"]},
        {"kty": {}},
        {"x": "AA"},
        {"x": 5},
        {"y": None},
    ],
)
def test_a_key_that_is_not_what_it_says_is_no_key(forge: Forge, members: dict[str, Any]) -> None:
    with pytest.raises(JwksError, match="no ES256 or EdDSA key"):
        parse_jwks(change(forge.jwks, **members))


def test_a_leaked_private_key_is_told(forge: Forge) -> None:
    with pytest.raises(JwksError, match="private key"):
        parse_jwks(change(forge.jwks, d="AAAA"))


def test_too_many_keys_are_refused(forge: Forge) -> None:
    with pytest.raises(JwksError, match="at most"):
        parse_jwks({"keys": forge.jwks["keys"] * (MAX_JWKS_KEYS + 1)})


def test_alg_and_use_may_be_left_out(forge: Forge) -> None:
    assert set(parse_jwks(change(forge.jwks, alg=None, use=None))) == {forge.key.kid}


def test_keys_of_other_kinds_are_passed_over(forge: Forge) -> None:
    others: list[Any] = [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"}, {"kty": "new"}, 1]
    assert set(parse_jwks({"keys": others + forge.jwks["keys"]})) == {forge.key.kid}
