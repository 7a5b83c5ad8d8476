"""How each finding about names in `trustedProxies` is found: functions from the view to what was seen.

No name is asked about: an audit says the same wherever it runs.
"""

from collections.abc import Iterator

from extauthz.audit.view import GatewayView


def searched(gateway: GatewayView) -> Iterator[str]:
    """A name of one label, without the dot that makes it whole, while this host's search list is asked."""
    for place, entry in gateway.names if gateway.searched else ():
        if "." not in entry:
            yield f"{place} is {entry}, which this host's search list completes first"


def rest_on_dns(gateway: GatewayView) -> Iterator[str]:
    """Nothing but answers of name servers says who is trusted."""
    if not (gateway.principals and gateway.require_all):
        for place, entry in gateway.names:
            yield f"{place} is {entry}: whoever answers for that name says who may name the user"
