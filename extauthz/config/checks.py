"""What concerns several values of the file together.

The checks read the raw data and not the models, so that a fault elsewhere in the file hides none of theirs: each
takes what it can use and leaves what has the wrong type to the schema's own faults.
"""

from collections.abc import Iterator
from typing import Any, Final

from extauthz.assertion.rules import MAX_SOURCES
from extauthz.config.assertions import faults as assertion_faults
from extauthz.config.assertions import fill
from extauthz.config.peer_names import is_name, name_of
from extauthz.config.schema import Dns, HeaderNames, Stamp
from extauthz.config.values import UNIX_PREFIX, Endpoint, seconds
from extauthz.core.text import canonical, fold, trim
from extauthz.stamp.claims import MAX_LIFETIME_SECONDS

# Each is asked about again and again: so many are a few questions a second.
MOST_PEER_NAMES: Final = 64

Place = tuple[str | int, ...]
Found = Iterator[tuple[Place, str]]


def cross_check(data: dict[str, Any]) -> Found:
    """Yield the place and the text of every fault between values."""
    for check in _CHECKS:
        yield from check(data)


def _get(data: Any, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _gateways(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    gateways = _get(data, "gateways")
    if not isinstance(gateways, dict):
        return {}
    return {key: value for key, value in gateways.items() if isinstance(key, str) and isinstance(value, dict)}


def _hosts(data: dict[str, Any]) -> Found:
    first: dict[str, str] = {}
    for gateway, value in _gateways(data).items():
        hosts = value.get("hosts")
        for position, host in enumerate(hosts if isinstance(hosts, list) else []):
            if not isinstance(host, str):
                continue
            owner = first.setdefault(fold(host), gateway)
            if owner != gateway:
                yield (
                    ("gateways", gateway, "hosts", position),
                    f"{host!r} is also a host of gateway {owner!r}: a host selects one gateway",
                )


def _peer_caller(data: dict[str, Any]) -> Found:
    doors = [
        door
        for door in ("grpc", "http")
        if any(address.startswith(UNIX_PREFIX) for address in _texts(_get(data, "listen", door)))
    ]
    if doors:
        for gateway, value in _gateways(data).items():
            if value.get("peer") == "caller":
                yield (
                    ("gateways", gateway, "peer"),
                    (
                        "`caller` needs the caller's address, which a unix socket does not have: let "
                        f"listen.{' and listen.'.join(doors)} be a TCP address, or use `source`"
                    ),
                )


def _trusted_principals(data: dict[str, Any]) -> Found:
    for gateway, value in _gateways(data).items():
        if value.get("trustedPrincipals") and value.get("peer") == "caller":
            yield (
                ("gateways", gateway, "trustedPrincipals"),
                (
                    "with `peer: caller` the certificate that the proxy tells of is the client's, not the peer's: name "
                    f"the peer's under gateways.{gateway}.callers.principals"
                ),
            )
        if value.get("require") != "all":
            continue
        for key in ("trustedProxies", "trustedPrincipals"):
            if not value.get(key):
                yield (
                    ("gateways", gateway, "require"),
                    (
                        f"`all` wants a trusted address and a trusted principal, and {key} is empty: fill it, or "
                        "remove `require`"
                    ),
                )


def _beyond_this_host(data: dict[str, Any]) -> Found:
    if _get(data, "callers") is not None:
        return
    for door in ("grpc", "http"):
        for address in _texts(_get(data, "listen", door)):
            try:
                local = Endpoint.parse(address).is_local
            except ValueError:
                continue  # the schema says so
            if not local:
                yield (
                    ("listen", door),
                    (
                        f"{address} can be reached from other hosts, and whoever reaches it could have any identity "
                        "stamped: say who may ask under `callers`, or listen on loopback or a unix socket"
                    ),
                )


def _admin_token(data: dict[str, Any]) -> Found:
    if _get(data, "admin", "tokenFile") is not None:
        return
    for address in _texts(_get(data, "listen", "admin")):
        try:
            local = Endpoint.parse(address).is_local
        except ValueError:
            continue  # the schema says so
        if not local:
            yield (
                ("listen", "admin"),
                f"{address} can be reached from other hosts: set admin.tokenFile, or listen on loopback",
            )


def _principals(data: dict[str, Any]) -> Found:
    if _get(data, "tls", "clientCa") is not None:
        return
    places: list[Place] = [("callers", "principals")] if _get(data, "callers", "principals") else []
    for gateway, value in _gateways(data).items():
        if _get(value, "callers", "principals"):
            places.append(("gateways", gateway, "callers", "principals"))
    for place in places:
        yield (
            place,
            "no caller could show a certificate: set tls.clientCa to the CA that signed the callers' certificates",
        )


_HEADER_NAMES: Final = {str(field.alias): str(field.default) for field in HeaderNames.model_fields.values()}


def _header_names(data: dict[str, Any]) -> Found:
    configured = _get(data, "headers")
    names = _HEADER_NAMES | {
        key: value
        for key, value in (configured.items() if isinstance(configured, dict) else ())
        if key in _HEADER_NAMES and isinstance(value, str)
    }
    owner: dict[str, str] = {}
    for key, name in names.items():
        other = owner.setdefault(canonical(fold(trim(name))), key)
        if other != key:
            yield ("headers", key), f"{name!r} is also headers.{other}, or an alias of it: each header has one meaning"
    for gateway, value in _gateways(data).items():
        user_header = _get(value, "auth", "trustedProxy", "userHeader")
        key = owner.get(canonical(fold(trim(user_header)))) if isinstance(user_header, str) else None
        same = key == "user" and fold(trim(str(user_header))) == fold(trim(names["user"]))
        if key is not None and not same:
            yield (
                ("gateways", gateway, "auth", "trustedProxy", "userHeader"),
                (f"{user_header!r} is also headers.{key}, or an alias of it: the user needs a name of its own"),
            )


# What is read from these is another thing than a token, and some of it is told in logs.
_NO_ASSERTION: Final = frozenset(
    {"cookie", "host", "origin", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}
)


def _assertions(data: dict[str, Any]) -> Found:
    configured = _get(data, "headers")
    names = _HEADER_NAMES | (configured if isinstance(configured, dict) else {})
    ours = {canonical(fold(trim(name))): f"headers.{key}" for key, name in names.items() if isinstance(name, str)}
    sources: set[tuple[str, ...]] = set()
    for gateway, value in _gateways(data).items():
        rules = _get(value, "auth", "trustedProxy")
        assertion = _get(rules, "assertion")
        if not isinstance(assertion, dict):
            continue
        place: Place = ("gateways", gateway, "auth", "trustedProxy", "assertion")
        for key, text in assertion_faults(assertion):
            yield (*place, key), text
        filled = fill(assertion)
        header, user_header = canonical(filled.header), _get(rules, "userHeader")
        taken = dict(ours)
        if isinstance(user_header, str):
            taken[canonical(fold(trim(user_header)))] = "userHeader"
        if header in taken or filled.header in _NO_ASSERTION:
            whose = f"is also {taken[header]}, or an alias of it" if header in taken else "carries something else"
            yield (*place, "header"), f"{filled.header!r} {whose}: the token needs a header of its own"
        # As in rules.KeySource: what differs in one of them is read by a thread of its own.
        sources.add((filled.jwks, *(str(assertion.get(key)) for key in ("jwksCa", "keysKept"))))
        if len(sources) > MAX_SOURCES:
            yield (*place, "jwks"), f"is one too many: keys are fetched from {MAX_SOURCES} different places at most"
            return


def _durations(data: dict[str, Any]) -> Found:
    values = {}
    for key, default in (("lifetime", Stamp().lifetime), ("reuse", Stamp().reuse)):
        text = _get(data, "stamp", key)
        try:
            values[key] = seconds(text if isinstance(text, str) else default)
        except ValueError:
            return  # the schema says so
    lifetime = values["lifetime"]
    if lifetime != int(lifetime) or not 1 <= lifetime <= MAX_LIFETIME_SECONDS:
        yield (
            ("stamp", "lifetime"),
            f"must be whole seconds, 1 to {MAX_LIFETIME_SECONDS}: no verifier takes a stamp that lives longer",
        )
    elif values["reuse"] >= values["lifetime"]:
        yield ("stamp", "reuse"), "must be shorter than stamp.lifetime, or a reused stamp would have expired"


# Shortest and longest, in seconds. What is kept outlasts a round of questions that are all answered late.
_DNS_LIMITS: Final = {"minTtl": (1, 3600), "maxTtl": (1, 3600), "timeout": (0.1, 5), "keep": (10, 86_400)}


def _dns(data: dict[str, Any]) -> Found:
    values: dict[str, float] = {}
    for key, default in ((str(field.alias), field.default) for field in Dns.model_fields.values()):
        if key not in _DNS_LIMITS:
            continue
        text = _get(data, "dns", key)
        try:
            values[key] = seconds(text if isinstance(text, str) else default)
        except ValueError:
            continue  # the schema says so
        shortest, longest = _DNS_LIMITS[key]
        if not shortest <= values[key] <= longest:
            yield ("dns", key), f"must be {shortest:g}s to {longest}s"
    if values.get("minTtl", 0) > values.get("maxTtl", values.get("minTtl", 0)):
        yield ("dns", "minTtl"), "must not be longer than dns.maxTtl"


def _peer_names(data: dict[str, Any]) -> Found:
    known: set[str] = set()
    for gateway, value in _gateways(data).items():
        entries = value.get("trustedProxies")
        for position, entry in enumerate(entries if isinstance(entries, list) else []):
            if not isinstance(entry, str) or not is_name(entry):
                continue
            try:
                known.add(name_of(entry))
            except ValueError:
                continue  # the schema says so
            if len(known) > MOST_PEER_NAMES:
                yield (
                    ("gateways", gateway, "trustedProxies", position),
                    f"is one name too many: {MOST_PEER_NAMES} different ones are resolved at most; list a range",
                )
                return


def _engine(data: dict[str, Any]) -> Found:
    if _get(data, "server", "engine") != "native":
        return
    instead = "use `grpcio`, or listen on loopback or a unix socket next to the proxy"
    if _get(data, "tls") is not None:
        yield ("server", "engine"), f"`native` has no TLS: {instead} without `tls`"
    for address in _texts(_get(data, "listen", "grpc")):
        try:
            local = Endpoint.parse(address).is_local
        except ValueError:
            continue  # the schema says so
        if not local:
            yield ("server", "engine"), f"`native` has no TLS, and {address} can be reached from other hosts: {instead}"


def _refusals(data: dict[str, Any]) -> Found:
    refusals = _get(data, "limits", "refusals")
    if isinstance(refusals, dict) and all(refusals.get(key, "") is None for key in ("perPeer", "perUser")):
        yield ("limits", "refusals"), "limits nothing: give perPeer or perUser a rate, or remove the block"


def _accepted(data: dict[str, Any]) -> Found:
    accepted = _get(data, "accepted")
    gateways = _gateways(data)
    for position, entry in enumerate(accepted if isinstance(accepted, list) else []):
        gateway = _get(entry, "gateway")
        if isinstance(gateway, str) and gateway not in gateways:
            yield ("accepted", position, "gateway"), f"there is no gateway {gateway!r}"


_CHECKS: Final = (
    _hosts,
    _peer_caller,
    _trusted_principals,
    _beyond_this_host,
    _admin_token,
    _principals,
    _header_names,
    _assertions,
    _durations,
    _dns,
    _peer_names,
    _engine,
    _refusals,
    _accepted,
)
