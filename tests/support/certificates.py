"""Certificates for tests: an authority and what it issues, written as PEM files. Keys are made anew each time."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, as files."""

    certificate: Path
    private_key: Path


# Of GeneralName (RFC 5280, section 4.2.1.6), each an IA5String.
_TAGS = {"email": 0x81, "dns": 0x82, "uri": 0x86}


def _general_names(names: Sequence[tuple[str, bytes]]) -> bytes:
    return _der(0x30, b"".join(_der(_TAGS[kind], value) for kind, value in names))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(digits)]) + digits + content


_SIGNS_CERTIFICATES: Final = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=False,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """An authority that issues certificates into a directory. Its own certificate is `certificate`."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        self._directory = directory
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        basic = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(self._name, self._key).add_extension(basic, critical=True)
        own = own.add_extension(_SIGNS_CERTIFICATES, critical=True)
        self.certificate = directory / f"{name.replace(' ', '-')}.pem"
        self.certificate.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file: str,
        *,
        dns: str | None = None,
        uri: str | None = None,
        names: Sequence[tuple[str, bytes]] = (),
        subject: str | None = None,
        days: tuple[float, float] = (-1, 1),
        self_signed: bool = False,
    ) -> Issued:
        """Issue a certificate with these subject alternative names; the files are called `file`.pem and `file`.key.

        Args:
            file: Also the subject's common name, unless `subject` is given.
            dns: A DNS name.
            uri: A URI.
            names: Instead of these two: each kind (`uri`, `dns`, `email`) and its bytes, written as they are, also
                where no library would write them.
            subject: The subject's common name.
            days: Between which moments it holds, in days from now.
            self_signed: By the key of the certificate itself, and not by the authority.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        if dns is not None:
            names = (*names, ("dns", dns.encode()))
        if uri is not None:
            names = (*names, ("uri", uri.encode()))
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file if subject is None else subject)])
        builder = self._builder(named, key, *days)
        if names:
            written = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, _general_names(names))
            builder = builder.add_extension(written, critical=False)
        issued = Issued(self._directory / f"{file}.pem", self._directory / f"{file}.key")
        signed = builder.sign(key if self_signed else self._key, hashes.SHA256())
        issued.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        issued.private_key.touch(mode=0o600)
        issued.private_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return issued

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: float = -1, ends: float = 1
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins * _DAY)
            .not_valid_after(now + ends * _DAY)
            # RFC 5280 wants both, and Python 3.13 does not verify without.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
