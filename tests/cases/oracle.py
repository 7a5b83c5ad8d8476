"""The rules once more, written as plainly as they are stated and sharing nothing with the code under test.

Networks of the standard library, plain loops, one `if` after the other; slow, and meant to be read beside the rules.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

Pairs = Sequence[tuple[str, str]]
IP = ipaddress.IPv4Address | ipaddress.IPv6Address

SPACE = {
    *(
        "\t",
        "\n",
        "\v",
        "\f",
        "\r",
        " ",
        "\u00a0",
        "\u1680",
        "\u2028",
        "\u2029",
        "\u202f",
        "\u205f",
        "\u3000",
        "\ufeff",
    ),
    *(chr(code) for code in range(0x2000, 0x200B)),
}
TAILSCALE = [
    "tailscale-funnel-request",
    "tailscale-headers-info",
    "tailscale-user-login",
    "tailscale-user-name",
    "tailscale-user-profile-pic",
]
PRIVATE = [
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *("fc00::/7", "fe80::/10"),
]
OUTPUT = ["x-authz-user", "x-authz-gateway", "x-authz-decision", "x-authz-stamp"]


def trimmed(text: str) -> str:
    while text and text[0] in SPACE:
        text = text[1:]
    while text and text[-1] in SPACE:
        text = text[:-1]
    return text


def blank(value: str | None) -> bool:
    return value is None or all(character in SPACE or character == "," for character in value)


def lower(name: str) -> str:
    return "".join(chr(ord(character) + 32) if "A" <= character <= "Z" else character for character in name)


def read_address(text: str | None) -> tuple[IP, str] | None:
    """An address and its zone; a mapped address as the IPv4 address that it is."""
    text = trimmed(text or "")
    if text[:1] == "[" and text[-1:] == "]":
        text = text[1:-1]
    bare, percent, zone = text.partition("%")
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        return None
    if percent and (not zone or "%" in zone or ip.version == 4):
        return None
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped, zone
    return ip, zone


def in_list(address: tuple[IP, str], entries: Sequence[str]) -> bool:
    for entry in entries:
        if "/" not in entry:
            if read_address(entry) == address:
                return True
            continue
        base, _, prefix = trimmed(entry).partition("/")
        written = ipaddress.ip_address(base.partition("%")[0])
        bits = int(prefix)
        if isinstance(written, ipaddress.IPv6Address) and written.ipv4_mapped is not None and bits >= 96:
            written, bits = written.ipv4_mapped, bits - 96
        network = ipaddress.ip_network(f"{written}/{bits}", strict=False)
        if network.version == address[0].version and address[0] in network:
            return True
    return False


def is_loopback(address: tuple[IP, str]) -> bool:
    ip = address[0]
    return ip == ipaddress.IPv6Address("::1") or (ip.version == 4 and ip in ipaddress.ip_network("127.0.0.0/8"))


def read_hop(text: str) -> tuple[IP, str] | None:
    text = trimmed(text)
    with_port = re.fullmatch(r"\[([^\]]*)\]:[0-9]+|([0-9.]+):[0-9]+", text)
    return read_address(with_port[1] or with_port[2] if with_port else text)


def client_of(
    peer: tuple[IP, str], trusted: Sequence[str], forwarded_for: str | None, real_ip: str | None
) -> tuple[IP, str] | None:
    if not in_list(peer, trusted):
        return peer
    for entry in (forwarded_for or "").split(",")[::-1]:
        hop = read_hop(entry)
        if hop is not None and not is_loopback(hop) and not in_list(hop, trusted):
            return hop
    return read_hop(real_ip) if real_ip is not None else None


def read_origin(text: str) -> tuple[str, str] | None:
    """The origin and its host with port, as they are compared."""
    text = lower(trimmed(text)).removesuffix("/")
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        return None
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", rest)
    if found is None or (found[1][0] == "[" and read_address(found[1]) is None):
        return None
    host, port = found[1], found[2]
    if port is not None and int(port) > 65535:
        return None
    default = {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(scheme)
    if port is not None and int(port) != default:
        host += f":{int(port)}"
    return f"{scheme}://{host}", host


def origin_allowed(gateway: dict[str, Any], origin: str | None, host: str) -> bool:
    if origin is None or blank(origin):
        return True
    read = read_origin(origin)
    if read is None:
        return False
    control = gateway.get("controlUi", {})
    for entry in control.get("allowedOrigins", []):
        configured = read_origin(entry)
        if trimmed(entry) == "*" or (configured is not None and configured[0] == read[0]):
            return True
    host = lower(trimmed(host))
    if read[1] != host:
        return False
    if control.get("dangerouslyAllowHostHeaderOriginFallback", False):
        return True
    name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    address = read_address(name)
    if address is not None:
        return any(
            address[0].version == ipaddress.ip_network(net).version and address[0] in ipaddress.ip_network(net)
            for net in PRIVATE
        )
    return name.endswith((".local", ".ts.net"))


def alias_of(name: str, protected: str) -> bool:
    def plain(text: str) -> str:
        return re.sub("[^a-z0-9]", "-", text)

    return plain(name) == plain(protected)


def decide(gateway: dict[str, Any], *, peer: str | None, pairs: Pairs, host: str = "", exact: bool = True) -> str:
    """Return "allow:USER" or the reason of the denial.

    `exact`: the form in which the headers came proves how often each did.
    """
    values: dict[str, str] = {}
    count: dict[str, int] = {}
    for name, value in pairs:
        folded = lower(name)
        values[folded] = values[folded] + "," + value if folded in values else value
        count[folded] = count.get(folded, 0) + 1
    trusted_proxy = (gateway.get("auth") or {}).get("trustedProxy")
    user_header = lower(trimmed((trusted_proxy or {}).get("userHeader") or ""))
    protected = [name for name in [*OUTPUT, user_header] if name]
    for name in values:
        if name not in protected and any(alias_of(name, other) for other in protected):
            return "header_alias_refused"
    if "host" not in values and host:
        values["host"] = host
    reason = _rules(gateway, trusted_proxy, user_header, read_address(peer), values, count, host, exact)
    if reason is not None:
        return reason
    user = trimmed(values[user_header])
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in user):
        return "request_malformed"
    return f"allow:{user}"


def _rules(  # noqa: C901, PLR0912, PLR0917 - the rules one after the other, as they are stated
    gateway: dict[str, Any],
    trusted_proxy: dict[str, Any] | None,
    user_header: str,
    peer: tuple[IP, str] | None,
    values: dict[str, str],
    count: dict[str, int],
    host: str,
    exact: bool,
) -> str | None:
    ruleset = gateway.get("ruleset", "standard")
    strict = ruleset == "openclaw-2026.9"
    trusted = gateway.get("trustedProxies", [])
    if trusted_proxy is None:
        return "trusted_proxy_config_missing"
    if not trusted:
        return "trusted_proxy_no_proxies_configured"
    forwarded = any(
        name in {"forwarded", "x-real-ip"} or name.startswith("x-forwarded-") for name in values if name != "host"
    )
    evidence = forwarded or any(name in values for name in TAILSCALE)
    if strict:
        if peer is None:
            return "proxy_attribution_required"
        if is_loopback(peer) and not evidence:
            pass
        elif in_list(peer, trusted):
            real_ip = values.get("x-real-ip") if gateway.get("allowRealIpFallback") else None
            client = client_of(peer, trusted, values.get("x-forwarded-for"), real_ip)
            if client is None or is_loopback(client):
                return "proxy_attribution_required"
        elif evidence:
            return "proxy_attribution_required"
    if peer is None or not in_list(peer, trusted):
        return "trusted_proxy_untrusted_source"
    allow_loopback = trusted_proxy.get("allowLoopback")
    if is_loopback(peer) and not ((not strict) if allow_loopback is None else allow_loopback):
        return "trusted_proxy_loopback_source"
    if strict and not is_loopback(peer):
        for own in gateway.get("localInterfaces", []):
            if read_address(own) == peer:
                return "trusted_proxy_local_interface_source"
    for entry in trusted_proxy.get("requiredHeaders", []):
        if blank(values.get(lower(trimmed(entry)))):
            return f"trusted_proxy_missing_header_{entry}"
    if not user_header or blank(values.get(user_header)):
        return "trusted_proxy_user_missing"
    value = values[user_header]
    if "," in value or count[user_header] > 1:
        proven = exact and count[user_header] == 1
        if not (trusted_proxy.get("allowCommaInUser") and proven):
            return "trusted_proxy_user_ambiguous"
    allow_users = trusted_proxy.get("allowUsers", [])
    if allow_users and trimmed(value) not in allow_users:
        return "trusted_proxy_user_not_allowed"
    if strict and is_loopback(peer) and not forwarded:
        return "proxy_attribution_required"
    looks_at_origin = strict or (ruleset == "standard" and gateway.get("controlUi", {}).get("allowedOrigins"))
    if looks_at_origin and not origin_allowed(gateway, values.get("origin"), host):
        return "trusted_proxy_origin_not_allowed"
    return None
