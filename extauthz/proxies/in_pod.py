"""What becomes of a configuration file in a pod: where it listens, who calls, where keys and certificates are mounted.

Only that mapping lives here. What has no meaning in a pod is refused, with its place and the cure; what has another
one is written anew, and told. Everything else stays as it stands, comments too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from extauthz.config.document import Document
from extauthz.config.faults import ConfigError
from extauthz.config.load import loads
from extauthz.config.schema import Settings
from extauthz.config.values import UNIX
from extauthz.core.address import parse_address, parse_entry
from extauthz.proxies.from_config import GapError

MOUNTED: Final = "/etc/extauthz"
KEYS: Final = f"{MOUNTED}/keys"
TOKEN: Final = f"{MOUNTED}/admin/token"
TLS: Final = {"certificate": f"{MOUNTED}/tls/tls.crt", "privateKey": f"{MOUNTED}/tls/tls.key"}
CLIENT_CA: Final = f"{MOUNTED}/tls/ca.crt"

WIDEST_PREFIX: Final = 4
"""A wider range of callers is everybody: 0.0.0.0/1 is half of all, 2000::/3 is every address on the Internet."""

PORTS: Final = {"grpc": 9191, "http": 9192, "admin": 9193}

_HEADER: Final = "# Of the pod; written by extauthz, in the place of what the file had.\n"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A configuration file that is fit for a pod.

    Attributes:
        text: The file.
        settings: What it says.
        notes: What was changed, and what the operator should know; each with its place.
    """

    text: str
    settings: Settings
    notes: tuple[str, ...]


def fit(text: str, *, callers: Sequence[str] = (), ipv6: bool = False) -> Fitted:
    """Make a configuration file fit for a pod.

    Args:
        text: The file.
        callers: Addresses and ranges of the pods that ask, in the place of `callers.addresses`.
        ipv6: Whether to listen on the pod's IPv6 addresses, and its IPv4 ones only where the system maps them.

    Raises:
        ConfigError: It cannot be used even outside a pod.
        GapError: It says what cannot be in a pod, or does not say who may ask there.
    """
    settings = loads(text).settings
    data = Document("", text).data
    _refuse_local_callers(settings)
    host = "[::]" if ipv6 else "0.0.0.0"  # noqa: S104 - in a pod; who may ask is said beside it
    sections: dict[str, dict[str, Any]] = {
        "listen": {door: f"{host}:{port}" for door, port in PORTS.items()},
        "callers": {**(data.get("callers") or {}), "addresses": _callers(settings, callers)},
        "admin": {**(data.get("admin") or {}), "tokenFile": TOKEN},
    }
    if settings.stamp.enabled:
        sections["stamp"] = {**(data.get("stamp") or {}), "keys": KEYS, "generateKeys": False}
    if settings.tls is not None:
        ca = {"clientCa": CLIENT_CA} if settings.tls.client_ca is not None else {}
        sections["tls"] = {**TLS, **ca}
    if settings.decision_log.output not in {"stdout", "none"}:
        sections["decisionLog"] = {**data["decisionLog"], "output": "stdout"}
    changed = {name: section for name, section in sections.items() if data.get(name) != section}
    written = _rewrite(text, data, changed)
    try:
        fitted = loads(written, source="in a pod").settings
    except ConfigError as error:  # what only a file for one host may have, such as an engine without TLS
        raise GapError(str(error)) from error
    return Fitted(written, fitted, tuple(_notes(settings, data, changed)))


def _callers(settings: Settings, given: Sequence[str]) -> list[str]:
    """Return who may ask in a cluster; this host is nobody there."""
    addresses = list(given) or [entry for entry in settings.callers.addresses if not _local(entry)]
    if not addresses:
        raise GapError(
            "callers.addresses: names only this host, and in a cluster the proxies ask from the addresses of their "
            "pods: list them, or their range, there or with --caller"
        )
    for entry in addresses:
        try:
            everybody = getattr(parse_entry(entry), "prefix", WIDEST_PREFIX) < WIDEST_PREFIX
        except ValueError as error:
            raise GapError(f"callers.addresses: {error}") from error
        if everybody and not settings.callers.principals:
            raise GapError(
                f"callers.addresses: {entry} is everybody, and whoever may ask can have any identity signed: write the "
                "range of the proxies' pods, or ask for client certificates (tls.clientCa, callers.principals)"
            )
    return addresses


def _refuse_local_callers(settings: Settings) -> None:
    for name, gateway in settings.gateways.items():
        own = gateway.callers.addresses if gateway.callers is not None else None
        if own is not None and all(map(_local, own)):
            raise GapError(
                f"gateways.{name}.callers.addresses: names only this host, and nobody in a cluster asks from "
                "there: list the addresses of the proxies' pods"
            )
        if gateway.local_interfaces == "auto":
            raise GapError(
                f"gateways.{name}.localInterfaces: `auto` would be the addresses of extauthz's own pod: list "
                "those of the Gateway's host"
            )


def _local(entry: str) -> bool:
    if entry == UNIX:
        return True
    address = parse_address(entry.partition("/")[0])
    return address is not None and address.loopback


def _notes(settings: Settings, data: dict[str, Any], changed: dict[str, Any]) -> Iterator[str]:
    if "listen" in changed and "listen" in data:
        yield f"listen: is now {', '.join(changed['listen'].values())}: the pod's own addresses"
    if "callers" in changed:
        yield f"callers.addresses: is now {', '.join(changed['callers']['addresses'])}"
    if "stamp" in changed:
        yield f"stamp: keys come from a Secret at {KEYS}, and no pod makes one (generateKeys: false)"
    if "tls" in changed:
        yield f"tls: certificates come from a Secret below {MOUNTED}/tls"
    if "decisionLog" in changed:
        yield "decisionLog.output: is now stdout, as a pod can write no file"
    yield from _warnings(settings)


def _warnings(settings: Settings) -> Iterator[str]:
    if settings.tls is None or settings.tls.client_ca is None:
        yield (
            "tls: without client certificates every pod at an address in callers can have any identity signed: let the "
            "range be narrow and the NetworkPolicy enforced, or set tls.clientCa and callers.principals"
        )
    if not settings.stamp.enabled:
        yield "stamp.enabled: is false, and the Gateways cannot tell who set their headers"
    for name, gateway in settings.gateways.items():
        if gateway.trusted_proxies and all(map(_local, gateway.trusted_proxies)):
            yield (
                f"gateways.{name}.trustedProxies: is loopback alone, which in a cluster is a proxy in the asking "
                "proxy's own pod"
            )


def _rewrite(text: str, data: dict[str, Any], changed: dict[str, Any]) -> str:
    """Return the file with these sections in the place of its own: the rest as it stands, where that is possible."""
    wanted = {**data, **changed}
    if not changed:
        return text
    lines = _without(text, changed)
    sections = yaml.safe_dump(changed, sort_keys=False, default_flow_style=None)
    written = f"{_HEADER}{sections}\n{lines}"
    try:
        if yaml.safe_load(written) == wanted:
            return written
    except yaml.YAMLError:
        pass  # such as a second document, or an anchor that stood in a section that is gone
    return yaml.safe_dump(wanted, sort_keys=False, default_flow_style=None)


def _without(text: str, names: dict[str, Any]) -> str:
    """Return the text without these sections, and without the comments that stand directly above them."""
    root = yaml.compose(text, yaml.SafeLoader)
    lines = text.splitlines(keepends=True)
    if not isinstance(root, yaml.MappingNode):
        return text
    for key, value in reversed(root.value):
        if key.value in names:
            first = key.start_mark.line
            while first and lines[first - 1].startswith("#"):
                first -= 1
            # The blank line after a section goes with it.
            end = max(_last_line(value), key.end_mark.line) + 1
            del lines[first : end + (end < len(lines) and not lines[end].strip())]
    return "".join(lines)


def _last_line(node: yaml.Node) -> int:
    """Return the line on which a value ends; PyYAML's own mark is where the next one begins."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(last[1] if isinstance(last, tuple) else last)
