"""From the `gateway` object of an openclaw.json to what the auditor sees. What is wrong in it is noted, not refused.

No note holds a value that may be a secret: of a wrong type only the type is told.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from extauthz.audit.finding import quoted
from extauthz.audit.ranges import Entry
from extauthz.audit.view import GatewayView, OpenClawFacts, Unreadable
from extauthz.core.address import parse_entry
from extauthz.core.origin import parse_configured_origin
from extauthz.core.text import trim
from extauthz.openclaw import references
from extauthz.openclaw.values import AUTH_MODES

PLACE: Final = "gateway"
_BINDS: Final = ("auto", "custom", "lan", "loopback", "tailnet")
_TYPES: Final = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def view_of_openclaw(gateway: Mapping[str, Any]) -> GatewayView:
    """Return the view of the `gateway` object. Defaults are those of OpenClaw 2026.9."""
    read = _Reader()
    auth = read.object(gateway, "auth")
    rules = read.object(auth, "trustedProxy", f"{PLACE}.auth")
    ui = read.object(gateway, "controlUi")
    mode = read.one_of(auth, "mode", f"{PLACE}.auth", AUTH_MODES)
    bind = read.one_of(gateway, "bind", PLACE, _BINDS)
    proxies, count = read.proxies(gateway)
    origins = read.origins(ui)
    rules_place = f"{PLACE}.auth.trustedProxy"
    return GatewayView(
        place=PLACE,
        delegated=mode == "trusted-proxy",
        proxies=proxies,
        proxies_missing=count == 0,
        user_header=trim(read.text(rules, "userHeader", rules_place)),
        required_headers=read.texts(rules, "requiredHeaders", rules_place),
        allow_users=read.texts(rules, "allowUsers", rules_place),
        allow_comma_in_user=True,
        allow_loopback=read.flag(rules, "allowLoopback", rules_place),
        loopback_by_default=False,
        real_ip_fallback=read.flag(gateway, "allowRealIpFallback", PLACE) is True,
        allowed_origins=origins,
        host_origin_fallback=read.flag(ui, "dangerouslyAllowHostHeaderOriginFallback", f"{PLACE}.controlUi") is True,
        openclaw=OpenClawFacts(
            auth_mode=mode,
            bind=bind or "loopback",
            ui=read.flag(ui, "enabled", f"{PLACE}.controlUi") is not False,
            token=_is_secret(auth.get("token")),
            password=_is_secret(auth.get("password")),
            unreadable=read.unreadable(),
        ),
    )


def _is_secret(value: Any) -> bool:
    """Tell whether there is one: text, a reference, or an object that says where it is kept."""
    return bool(trim(value)) if isinstance(value, str) else value is not None


class _Reader:
    """Reads values of the wanted type, and notes those of another."""

    def __init__(self) -> None:
        self._types: list[str] = []
        self._proxies: list[str] = []
        self._origins: list[str] = []
        self._references: list[str] = []

    def unreadable(self) -> Unreadable:
        """Return what was noted. To be asked when all has been read."""
        return Unreadable(
            types=tuple(self._types),
            proxies=tuple(self._proxies),
            origins=tuple(self._origins),
            references=tuple(self._references),
        )

    def object(self, data: Mapping[str, Any], key: str, place: str = PLACE) -> dict[str, Any]:
        value = self._typed(data, key, place, dict, "an object")
        return value if isinstance(value, dict) else {}

    def flag(self, data: Mapping[str, Any], key: str, place: str) -> bool | None:
        value = self._typed(data, key, place, bool, "true or false")
        return value if isinstance(value, bool) else None

    def text(self, data: Mapping[str, Any], key: str, place: str) -> str:
        value = self._typed(data, key, place, str, "text")
        return value if isinstance(value, str) else ""

    def one_of(self, data: Mapping[str, Any], key: str, place: str, known: Sequence[str]) -> str | None:
        value = self.text(data, key, place)
        if value and value not in known and not references(value):
            self._types.append(f"{place}.{key} is {quoted(value)}; {', '.join(known)} are known")
        return value or None

    def texts(self, data: Mapping[str, Any], key: str, place: str) -> tuple[str, ...]:
        """Return the texts of a list. A reference is one of them: something stands there."""
        return tuple(text for _, text in self._listed(data, key, place))

    def proxies(self, gateway: Mapping[str, Any]) -> tuple[tuple[Entry, ...], int]:
        """Return the entries of `trustedProxies` that can be read, and how many stand there in all."""
        entries = []
        for where, text in self._listed(gateway, "trustedProxies", PLACE):
            if references(text):
                continue
            try:
                entries.append(Entry(where, parse_entry(text)))
            except ValueError as error:
                # The text of the error opens with the entry, but where that is blank.
                self._proxies.append(f"{where}: {error}" if trim(text) else f"{where} {error}")
        found = gateway.get("trustedProxies")
        return tuple(entries), len(found) if isinstance(found, list) else 0

    def origins(self, ui: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the entries of `allowedOrigins`, trimmed, the blank ones left out as OpenClaw does."""
        found = []
        for where, text in self._listed(ui, "allowedOrigins", f"{PLACE}.controlUi"):
            origin = trim(text)
            if not origin:
                continue
            found.append(origin)
            if origin != "*" and not references(origin) and not _parses(parse_configured_origin, origin):
                self._origins.append(f"{where} is {quoted(text)}")
        return tuple(found)

    def _listed(self, data: Mapping[str, Any], key: str, place: str) -> list[tuple[str, str]]:
        value = self._typed(data, key, place, list, "a list")
        found = []
        for position, item in enumerate(value if isinstance(value, list) else []):
            where = f"{place}.{key}[{position}]"
            if not isinstance(item, str):
                self._types.append(f"{where} is {_type(item)}, and text is wanted")
                continue
            if references(item):
                self._references.append(f"{where} is {quoted(item)}")
            found.append((where, item))
        return found

    def _typed(self, data: Mapping[str, Any], key: str, place: str, wanted: type, told: str) -> Any:
        value = data.get(key)
        if value is None:
            return None
        if isinstance(value, str) and references(value):
            self._references.append(f"{place}.{key} is {quoted(value)}")
        elif not isinstance(value, wanted):
            self._types.append(f"{place}.{key} is {_type(value)}, and {told} is wanted")
        return value


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "a number")


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
