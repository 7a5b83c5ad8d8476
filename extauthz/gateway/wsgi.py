"""WSGI middleware: the application behind it sees only what was stamped. Judges nothing: the verifier does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from extauthz.gateway.headers import HeaderNames, IdentityHeaders
from extauthz.gateway.refusal import STATUS, StampRefused, answer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from extauthz.gateway.verifier import Identity, StampVerifier

IDENTITY_KEY: Final = "extauthz.identity"
"""Where in `environ` the `Identity` is."""

RAW_TARGET_KEYS: Final = ("RAW_URI", "REQUEST_URI")
"""Where servers put the raw request target, which WSGI itself does not have: gunicorn; uWSGI, mod_wsgi, Werkzeug."""

_PREFIX: Final = "HTTP_"
_REFUSED: Final = f"{STATUS} Unauthorized"

_log = logging.getLogger("extauthz.gateway")


class StampMiddleware:
    """Lets a request through to the application only with a stamp that the verifier accepts.

    Every identity header that arrived is deleted, aliases too, and written anew from the verified claims. The user is
    `environ["REMOTE_USER"]`, the identity `environ["extauthz.identity"]`. A refusal is a 401 with its reason.

    A stamp that is bound to the path needs a server that tells the raw request target (`RAW_TARGET_KEYS`).
    """

    def __init__(
        self,
        app: WSGIApplication,
        verifier: StampVerifier,
        *,
        headers: HeaderNames | None = None,
        protect: Iterable[str] = (),
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            verifier: What accepts stamps.
            headers: The names under `headers` in extauthz's configuration, and the gateway's `userHeader`.
            protect: More headers that are deleted from every request.
        """
        self._app = app
        self._verifier = verifier
        self._headers = IdentityHeaders(headers or HeaderNames(), protect)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        try:
            # Servers join headers that came twice with a comma, and `-` and `_` are one to them. The verifier refuses
            # a stamp with a comma in it.
            stamp = environ.get(_key(self._headers.stamp), "").strip(" \t")
            identity = self._identify(stamp, environ)
            self._rewrite(environ, identity, stamp)
        except StampRefused as refusal:
            reason = refusal.reason
            _log.info("refused: %s", refusal)
        except Exception:  # noqa: BLE001 (whatever fails, nobody gets in)
            reason = "stamp_internal_error"
            _log.exception("a stamp could not be checked")
        else:
            return self._app(environ, start_response)
        fields, body = answer(reason)
        start_response(_REFUSED, fields)
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]

    def _identify(self, stamp: str, environ: WSGIEnvironment) -> Identity:
        target = next((environ[key] for key in RAW_TARGET_KEYS if key in environ), None)
        host = environ.get("HTTP_HOST")
        return self._verifier.verify(
            stamp,
            method=environ["REQUEST_METHOD"],
            # Two Host headers, joined: nobody knows which of them the application goes by.
            host=None if host is None or "," in host else host,
            path=None if target is None else target.encode("latin-1"),
        )

    def _rewrite(self, environ: WSGIEnvironment, identity: Identity, stamp: str) -> None:
        for key in [key for key in environ if self._believed(key)]:
            del environ[key]
        for name, value in self._headers.written(identity, stamp):
            environ[_key(name)] = _native(value)
        environ["REMOTE_USER"] = _native(identity.user)
        environ[IDENTITY_KEY] = identity

    def _believed(self, key: str) -> bool:
        if key in {"REMOTE_USER", "AUTH_TYPE", IDENTITY_KEY}:
            return True
        return key.startswith(_PREFIX) and self._headers.is_protected(key[len(_PREFIX) :])


def _key(name: str) -> str:
    return _PREFIX + name.upper().replace("-", "_")


def _native(text: str) -> str:
    # PEP 3333: a str of the bytes that would be on the wire.
    return text.encode().decode("latin-1")
