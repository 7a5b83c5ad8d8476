"""An identity-aware proxy's signing side, as the test likes it: keys, tokens with any header and claims, and a JWKS."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from extauthz.stamp.claims import encode_segment
from gateway.servers import JwksServer
from support.certificates import Issued

ISSUER = "openclaw.example.com"
AUDIENCE = "openclaw.example.com"
USER = "nick@example.com"

_CURVES: dict[str, ec.EllipticCurve] = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_RSA: list[rsa.RSAPrivateKey] = []


def _rsa() -> rsa.RSAPrivateKey:
    # Made once: it takes a while.
    if not _RSA:
        _RSA.append(rsa.generate_private_key(65537, 2048))
    return _RSA[0]


class Issuer:
    """One signing key of an issuer, and what it signs."""

    def __init__(self, algorithm: str = "ES256", kid: str = "key-1") -> None:
        self.algorithm, self.kid = algorithm, kid
        self.key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | Ed25519PrivateKey
        if algorithm == "EdDSA":
            self.key = Ed25519PrivateKey.generate()
        elif algorithm.startswith("ES"):
            self.key = ec.generate_private_key(_CURVES[algorithm[2:]])
        else:
            self.key = _rsa()

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key, as an entry of a JWKS."""
        kinds: dict[type, Any] = {ec.EllipticCurvePrivateKey: ECKey, rsa.RSAPrivateKey: RSAKey}
        kind = next((made for base, made in kinds.items() if isinstance(self.key, base)), OKPKey)
        return {**kind.import_key(self.pem).as_dict(private=False), "kid": self.kid, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key in PEM."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def jwks(self) -> dict[str, Any]:
        """A JWKS with this key alone."""
        return {"keys": [self.jwk]}

    @staticmethod
    def claims(now: float | None = None) -> dict[str, Any]:
        """What a good token says."""
        begins = int(time.time() if now is None else now)
        return {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "u-1",
            "email": USER,
            "iat": begins,
            "exp": begins + 300,
        }

    @property
    def header(self) -> dict[str, Any]:
        """What a good token's header has."""
        return {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}

    def token(
        self,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        *,
        now: float | None = None,
        padded: bool = False,
    ) -> str:
        """Sign a token that is good but for these members; None removes one."""
        said = {name: value for name, value in {**self.claims(now), **(claims or {})}.items() if value is not None}
        top = {name: value for name, value in {**self.header, **(header or {})}.items() if value is not None}
        return self.sign(json.dumps(top).encode(), json.dumps(said).encode(), padded=padded)

    def sign(self, header: bytes, payload: bytes, *, padded: bool = False) -> str:
        """Sign any bytes."""

        def write(data: bytes) -> str:
            return base64.urlsafe_b64encode(data).decode() if padded else encode_segment(data)

        signed = f"{write(header)}.{write(payload)}"
        return f"{signed}.{write(self.signature(signed.encode()))}"

    def signature(self, data: bytes) -> bytes:
        """Sign these bytes by the key's own algorithm, in JOSE's form."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(data)
        digest = _HASHES[self.algorithm[2:]]
        if isinstance(self.key, rsa.RSAPrivateKey):
            scheme: padding.AsymmetricPadding = padding.PKCS1v15()
            if self.algorithm.startswith("PS"):
                scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
            return self.key.sign(data, scheme, digest)
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(digest)))
        size = (self.key.key_size + 7) // 8
        return r.to_bytes(size) + s.to_bytes(size)


class TlsJwksServer(JwksServer):
    """The same source over https, with a certificate of the test's own authority."""

    def __init__(self, certificate: Issued) -> None:
        super().__init__()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.private_key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http://127.0.0.1", "https://localhost")


class PemServer:
    """Keys by their id, one file each, as an AWS region has them."""

    def __init__(self, *issuers: Issuer) -> None:
        self.keys = {issuer.kid: issuer.pem for issuer in issuers}
        self.asked: list[str] = []
        self.missing = 403
        self.on_request: Callable[[], object] = bool  # what the test does meanwhile; by default nothing
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kid = self.path.removeprefix("/keys/")
                source.asked.append(kid)
                source.on_request()
                found = source.keys.get(kid)
                self.send_response(200 if found is not None else source.missing)
                self.send_header("content-length", str(len(found or b"")))
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys/{{kid}}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
