"""How each finding about trusted principals is found: functions from the view of a Gateway to what was seen."""

from collections.abc import Iterator

from extauthz.audit import ranges
from extauthz.audit.finding import quoted
from extauthz.audit.view import GatewayView
from extauthz.core.principals import WILDCARD


def rest_on_the_proxy(gateway: GatewayView) -> Iterator[str]:
    """A principal is as good as the proxy's look at the certificate."""
    count = len(gateway.principals)
    if count:
        entries = "1 entry" if count == 1 else f"{count} entries"
        yield f"{gateway.place}.trustedPrincipals has {entries}, and it is the proxy's TLS that proves who has them"


def wide_wildcards(gateway: GatewayView) -> Iterator[str]:
    """A wildcard trusts more than what is below one path of one trust domain."""
    for position, entry in enumerate(gateway.principals):
        wide = _wide(entry.removesuffix(WILDCARD)) if entry.endswith(WILDCARD) else ""
        if wide:
            yield f"{gateway.place}.trustedPrincipals[{position}] is {quoted(entry)}: {wide}"


def _wide(beginning: str) -> str:
    """Return what is wrong with how the trusted principals begin; "" if that is a path's segments, whole."""
    scheme, separator, rest = beginning.partition("://")
    domain, slash, path = rest.partition("/")
    if not separator:
        return f"whatever a name goes on with is trusted, as in {quoted(beginning + '.attacker.example')}"
    if not slash:
        return f"other trust domains begin so too, as {quoted(f'{scheme}://{domain}.attacker.example')}"
    if not path:
        return "everyone in the trust domain may speak for users"
    if not path.endswith("/"):
        return f"other names begin so too, as {quoted(beginning + '-attacker')}"
    return ""


def addresses_prove_little(gateway: GatewayView) -> Iterator[str]:
    """Wide ranges are trusted for their addresses alone, where a certificate could be wanted."""
    if gateway.openclaw is not None or (gateway.principals and gateway.require_all):
        return
    beside = ", and `require` is any: who has such an address needs no certificate" if gateway.principals else ""
    for seen in (*ranges.everything(gateway.proxies), *ranges.wide(gateway.proxies)):
        yield f"{seen}{beside}"
