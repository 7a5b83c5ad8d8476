"""Who may look at the admin address: which Host a request may name, which pages may send it, which token it brings.

A browser on an operator's machine reaches what the operator reaches. So what a foreign page could make it send is
refused: under a foreign name (DNS rebinding), or from a foreign page (cross-site).
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

from extauthz.core.address import parse_address
from extauthz.core.origin import host_name, parse_origin
from extauthz.core.text import fold
from extauthz.doors.token_file import TokenFile
from extauthz.wire.forward_auth import HttpAnswer

Headers = Sequence[tuple[bytes, bytes]]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# On every answer, whatever it is.
SECURITY_HEADERS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Sec-Fetch-Site (W3C Fetch Metadata) of what this page or the person in front of it sent.
_OWN_SITES: Final = frozenset({b"same-origin", b"none"})


def answer(status: int, data: Any, *headers: tuple[bytes, bytes]) -> HttpAnswer:
    """Return an answer as JSON."""
    return raw_answer(status, json.dumps(data).encode(), b"application/json", *headers)


def raw_answer(status: int, body: bytes, content_type: bytes, *headers: tuple[bytes, bytes]) -> HttpAnswer:
    """Return an answer with the headers that every one has."""
    own = ((b"content-type", content_type), (b"content-length", b"%d" % len(body)))
    return HttpAnswer.of(status, [*headers, *own, *SECURITY_HEADERS], body)


class Guard:
    """Refuses what nobody in front of the console would have sent."""

    def __init__(self, hosts: Collection[str], token: TokenFile | None) -> None:
        """Remember who may look.

        Args:
            hosts: Names under which the address is reached, beside `localhost` and every IP address.
            token: What must be brought; None asks for none.
        """
        self._hosts: Final = frozenset(fold(host) for host in hosts)
        self._token: Final = token

    def refuse_host(self, headers: Headers) -> HttpAnswer | None:
        """Return the refusal of a request under a foreign name; None if the name may be used.

        An address is no foreign name: a page that was rebound sends the name that it was loaded under. A request
        without a Host is none of a browser.
        """
        found = [value for name, value in headers if name == b"host"]
        if not found:
            return None
        if len(found) == 1 and self._is_own(found[0].decode("latin-1")):
            return None
        return answer(
            421,
            {
                "error": "host_not_allowed",
                "do": "reach this address by localhost or an IP address, or list the name under admin.hosts",
            },
        )

    def refuse_foreign(self, headers: Headers) -> HttpAnswer | None:
        """Return the refusal of a request for data that another site's page caused; None if there is nothing to refuse.

        Whoever sends no Sec-Fetch-Site and no Origin is no current browser, and obeys no page.
        """
        sites = {value for name, value in headers if name == b"sec-fetch-site"}
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if sites <= _OWN_SITES and all(self._is_own_origin(origin, headers) for origin in origins):
            return None
        return answer(403, {"error": "cross_site", "do": "open the console itself: other sites cannot read from it"})

    def refuse_stranger(self, headers: Headers) -> HttpAnswer | None:
        """Return the refusal of a request without the token; None if it is there, or none is wanted."""
        if self._token is None:
            return None
        found = [value for name, value in headers if name == b"authorization"]
        if self._token.admits(found[0] if len(found) == 1 else None):
            return None
        return answer(
            401,
            {"error": "token_wanted", "do": "send the token of admin.tokenFile: Authorization: Bearer TOKEN"},
            (b"www-authenticate", b'Bearer realm="extauthz admin"'),
        )

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts:
            return True
        return parse_address(name) is not None

    @staticmethod
    def _is_own_origin(origin: str, headers: Headers) -> bool:
        # The scheme is not compared: whatever carries TLS in front of this address changes it.
        found = parse_origin(origin)
        host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
        own = {own.host_port for scheme in ("http", "https") if (own := parse_origin(f"{scheme}://{host}")) is not None}
        return found is not None and found.host_port in own
