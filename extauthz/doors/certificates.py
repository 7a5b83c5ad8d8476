"""The server's certificates: read from files, checked, and read again when the files change."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from extauthz.logs import get_logger

if TYPE_CHECKING:
    import grpc

_log: Final = get_logger(__name__)


class CertificateError(Exception):
    """The certificate files cannot be used; the text names the file."""


class Certificates:
    """A certificate, its key, and the CA of client certificates, as files.

    The files are looked at on each handshake and read when they changed. A new set that cannot be used is reported
    and the last good one kept.
    """

    def __init__(self, certificate: Path, private_key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            CertificateError: They cannot be read, or do not belong together.
        """
        self._certificate: Final = certificate
        self._private_key: Final = private_key
        self._client_ca: Final = client_ca
        self._seen = self._signature()
        self._configuration = self._read()

    def credentials(self) -> "grpc.ServerCredentials":
        """Return credentials for a gRPC listener that follow the files. With a client CA, callers must show one."""
        import grpc  # noqa: PLC0415 - not loaded where the native engine serves, which has no TLS

        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._fetch,  # type: ignore[arg-type]  # the stubs forget that None means "no change"
            require_client_authentication=self._client_ca is not None,
        )

    def _fetch(self) -> "grpc.ServerCertificateConfiguration | None":
        """Return the new set if the files changed and can be used, else None: keep the one in use."""
        try:
            signature = self._signature()
            if signature == self._seen:
                return None
            self._configuration = self._read()
        except CertificateError as error:
            _log.error("the new certificates cannot be used, the old ones are kept", error=str(error))
            return None
        self._seen = signature
        _log.info("certificates read again", certificate=str(self._certificate))
        return self._configuration

    def _files(self) -> tuple[Path, ...]:
        return tuple(file for file in (self._certificate, self._private_key, self._client_ca) if file is not None)

    def _signature(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for file in self._files():
            try:
                status = file.stat()
            except OSError as error:
                raise CertificateError(f"{file}: {error.strerror}") from error
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        import ssl  # noqa: PLC0415 - with it OpenSSL: process.leave_out_openssl

        import grpc  # noqa: PLC0415

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._certificate, self._private_key, password=_no_password)
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"{self._certificate} and {self._private_key} are no certificate with its key: {error}"
            ) from error
        ca = None
        if self._client_ca is not None:
            try:
                context.load_verify_locations(self._client_ca)
                ca = self._client_ca.read_bytes()
            except OSError as error:
                raise CertificateError(f"{self._client_ca} is no CA certificate: {error}") from error
        try:
            pair = (self._private_key.read_bytes(), self._certificate.read_bytes())
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}") from error
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)


def _no_password() -> str:
    """Refuse an encrypted key instead of asking for its password at the terminal."""
    raise ValueError("the key is encrypted: a service cannot ask for its password")
