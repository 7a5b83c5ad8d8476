"""From checked settings to the policy that decides: the only place that knows both."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from extauthz.assertion.rules import Rules
from extauthz.config.assertions import filled_model, rules_of
from extauthz.config.garbage import collected_later
from extauthz.config.load import Loaded
from extauthz.config.peer_names import DNS_PREFIX, names_in, static_entries
from extauthz.config.schema import GatewayModel, Settings
from extauthz.config.values import UNIX
from extauthz.core.address import Address, AddressSet, parse_address, parse_entry
from extauthz.core.assertion import Assertion, Flaw, Refused, Verdict, Verified, Verifier
from extauthz.core.origin import parse_configured_origin
from extauthz.core.policy import Callers, Gateway, PeerName, Policy, Required
from extauthz.core.principals import Principals
from extauthz.core.rulesets import RULESETS
from extauthz.core.text import fold, trim
from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# What the names in `trustedProxies` stand for, by name.
Peers = Mapping[str, PeerName]
UNRESOLVED: Final[Peers] = MappingProxyType({})

# Who verifies assertions by which rules.
Verifiers = Callable[[Rules], Verifier]


class _NoKeys:
    """Believes nothing: where nobody has keys to verify with."""

    def verify(self, token: str) -> Verdict:
        """Refuse the token, unread."""
        del token
        return Refused(Flaw.INVALID, "nothing is verified here: there are no keys")

    def describe(self, verified: Verified) -> str:
        """Return who would have signed it."""
        return f"signed by {verified.issuer}"


def no_keys(_rules: Rules) -> Verifier:
    """Return what believes nothing."""
    return _NoKeys()


def own_addresses() -> frozenset[Address] | None:
    """Return this host's own addresses, with and without their zones; None if they cannot be read."""
    try:
        import psutil  # noqa: PLC0415 - wanted by `localInterfaces: auto` alone

        texts = [entry.address for entries in psutil.net_if_addrs().values() for entry in entries]
    except Exception:  # noqa: BLE001 - whatever it is, the rule for it is to deny
        _log.exception("own addresses cannot be read")
        return None
    found = (parse_address(form) for text in texts for form in (text, text.partition("%")[0]))
    return frozenset(address for address in found if address is not None)


@collected_later()
def compile_policy(
    loaded: Loaded,
    interfaces: Callable[[], frozenset[Address] | None] = own_addresses,
    *,
    peers: Peers = UNRESOLVED,
    verifiers: Verifiers = no_keys,
) -> Policy:
    """Compile all gateways of a checked file.

    Args:
        loaded: The file.
        interfaces: Returns this host's own addresses; None if they cannot be read.
        peers: What the names in `trustedProxies` stand for; one that is not there trusts nobody.
        verifiers: Return what verifies assertions by these rules. Without, none is believed.
    """
    settings = loaded.settings
    own: list[frozenset[Address] | None] = []

    def local(gateway: GatewayModel) -> frozenset[Address] | None:
        if gateway.local_interfaces != "auto":
            return frozenset(filter(None, map(parse_address, gateway.local_interfaces)))
        if not own:
            own.append(interfaces())
        return own[0]

    return Policy(
        (
            _gateway(name, gateway, settings, local(gateway), peers, _assertion(gateway, loaded, verifiers))
            for name, gateway in settings.gateways.items()
        ),
        callers=_callers(settings.callers.addresses, settings.callers.principals),
        most_headers=settings.limits.headers,
        longest_header_bytes=settings.limits.header_bytes,
    )


def _callers(addresses: list[str] | None, principals: Iterable[str]) -> Callers:
    return Callers(
        addresses=None
        if addresses is None
        else AddressSet(parse_entry(address) for address in addresses if address != UNIX),
        unix=addresses is not None and UNIX in addresses,
        principals=frozenset(principals),
    )


def follow_peers(loaded: Loaded, policy: Policy, peers: Peers) -> Policy:
    """Return the policy as it is when the names stand for these addresses; the same one if that changes nothing.

    Args:
        loaded: What the policy was compiled of.
        policy: The policy in force.
        peers: What each name stands for now.
    """
    changed = {}
    # Thousands of gateways have the same proxy: what its entries come to is made once.
    made: dict[tuple[str, ...], tuple[tuple[PeerName, ...], AddressSet]] = {}
    for name, gateway in policy.gateways.items():
        if gateway.peer_names:
            entries = tuple(loaded.settings.gateways[name].trusted_proxies)
            found = made.get(entries)
            if found is None:
                names = _peer_names(entries, peers)
                found = made[entries] = (names, _trusted(entries, names))
            if found[0] != gateway.peer_names:
                changed[name] = replace(gateway, trusted_proxies=found[1], peer_names=found[0])
    return policy.replaced(changed) if changed else policy


def _peer_names(entries: Iterable[str], peers: Peers) -> tuple[PeerName, ...]:
    return tuple(peers.get(name) or PeerName(entry=DNS_PREFIX + name) for name in names_in(entries))


def _trusted(entries: Iterable[str], names: Iterable[PeerName]) -> AddressSet:
    resolved = dict.fromkeys(address for name in names for address in name.addresses)
    return AddressSet((*map(parse_entry, static_entries(entries)), *resolved))


def _assertion(gateway: GatewayModel, loaded: Loaded, verifiers: Verifiers) -> Assertion | None:
    model = gateway.auth.trusted_proxy.assertion if gateway.auth is not None and gateway.auth.trusted_proxy else None
    if model is None:
        return None
    rules = rules_of(model, loaded.path)
    return Assertion(
        header=filled_model(model).header,
        verifier=verifiers(rules),
        preset=model.preset or "",
        user_claim=rules.user_claim,
        issuer=rules.issuer,
        audiences=rules.audiences,
        source=rules.source.name,
    )


@lru_cache(1)
def _folded(*names: str) -> tuple[str, ...]:
    """Return the names as they are compared: the same for every gateway of a file."""
    return tuple(fold(trim(name)) for name in names)


def _gateway(  # noqa: PLR0913, PLR0917 - one gateway, from everything that it is made of
    name: str,
    gateway: GatewayModel,
    settings: Settings,
    local: frozenset[Address] | None,
    peers: Peers,
    assertion: Assertion | None,
) -> Gateway:
    ruleset = RULESETS[gateway.ruleset]
    trusted_proxy = gateway.auth.trusted_proxy if gateway.auth is not None else None
    origins = gateway.control_ui.allowed_origins
    headers = settings.headers
    peer_names = _peer_names(gateway.trusted_proxies, peers)
    return Gateway(
        id=name,
        ruleset=ruleset,
        hosts=tuple(gateway.hosts),
        callers=_callers(gateway.callers.addresses, gateway.callers.principals) if gateway.callers else None,
        peer_is_caller=gateway.peer == "caller",
        shadow=(gateway.mode or settings.mode) == "shadow",
        configured=trusted_proxy is not None,
        trusted_proxies=_trusted(gateway.trusted_proxies, peer_names),
        peer_names=peer_names,
        trusted_principals=Principals(gateway.trusted_principals) if gateway.trusted_principals else None,
        require_all=gateway.require == "all",
        allow_loopback=ruleset.allow_loopback
        if trusted_proxy is None or trusted_proxy.allow_loopback is None
        else trusted_proxy.allow_loopback,
        local_interfaces=local,
        required_headers=tuple(map(Required.configured, trusted_proxy.required_headers)) if trusted_proxy else (),
        user_header=fold(trim(trusted_proxy.user_header or "")) if trusted_proxy else "",
        assertion=assertion,
        allow_users=frozenset(trusted_proxy.allow_users) if trusted_proxy else frozenset(),
        allow_comma_in_user=trusted_proxy is not None and trusted_proxy.allow_comma_in_user,
        allow_real_ip_fallback=gateway.allow_real_ip_fallback,
        any_origin=any(trim(origin) == "*" for origin in origins),
        allowed_origins=frozenset(parse_configured_origin(origin) for origin in origins if trim(origin) != "*"),
        host_origin_fallback=gateway.control_ui.dangerously_allow_host_header_origin_fallback,
        output_headers=_folded(headers.user, headers.gateway, headers.decision, headers.stamp),
    )
