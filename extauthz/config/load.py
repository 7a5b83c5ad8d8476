"""From a file to checked settings: every fault in one error, what is incomplete or does little as notices."""

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from extauthz.config.checks import cross_check
from extauthz.config.document import LARGEST_FILE_BYTES, Document
from extauthz.config.faults import ConfigError, Fault, join_path
from extauthz.config.garbage import collected_later
from extauthz.config.pasted import without_pasted_keys
from extauthz.config.schema import Model, Settings
from extauthz.core import reasons
from extauthz.core.text import trim

Signature = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that can be used.

    Attributes:
        settings: Its content, checked.
        folder: Where the file lies: relative paths in it start there.
        incomplete: Gateways that load and deny everything, with the reason; errors to be mended.
        notices: What to know about what was asked for: what does less than it may seem to; each is on the safe
            side.
        seen: What the file looked like before it was read, by `signature`; () where this was no file's.
    """

    settings: Settings
    folder: Path
    incomplete: tuple[Fault, ...]
    notices: tuple[Fault, ...]
    seen: Signature = ()

    def path(self, name: str) -> Path:
        """Return a path of the file, relative to the file itself."""
        return self.folder / name


def signature(file: Path) -> Signature:
    """Return what changes when the file does, through whatever symlinks lead to it; () if it is not there."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def load(file: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None, *, pasted: bool = False) -> Loaded:
    """Read and check a configuration file.

    Args:
        file: The file.
        overrides: Sections whose keys take the place of the file's: {"listen": {"grpc": [...]}}.
        pasted: Pass over OpenClaw's own keys in a gateway that do not concern us; for an audit.

    Raises:
        ConfigError: It cannot be read or used; the text names every fault.
    """
    seen = signature(file)
    try:
        if file.stat().st_size > LARGEST_FILE_BYTES:
            raise ConfigError(str(file), [Fault("", f"the file is larger than {LARGEST_FILE_BYTES} bytes")])
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(file), [Fault("", f"cannot be read: {error.strerror or error}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Fault("", f"is no UTF-8 at byte {error.start}")]) from error
    loaded = loads(text, source=str(file), folder=file.parent, overrides=overrides, pasted=pasted)
    return replace(loaded, seen=seen)


@collected_later()
def loads(
    text: str,
    *,
    source: str = "configuration",
    folder: Path = Path(),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    pasted: bool = False,
) -> Loaded:
    """Check a configuration given as text; `load` has the arguments.

    Raises:
        ConfigError: It cannot be used; the text names every fault.
    """
    document = Document(source, text)
    if not isinstance(document.data, dict):
        raise ConfigError(source, [Fault("", "must be a mapping of keys: a minimal file has `gateways`")])
    data = without_pasted_keys(document.data) if pasted else document.data
    _override(data, overrides or {})
    faults: dict[tuple[str, str], Fault] = {}

    def add(place: Sequence[str | int], message: str) -> None:
        path = join_path(place)
        section = (overrides or {}).get(str(place[0]), {}) if place else {}
        given = len(place) > 1 and place[1] in section
        # What the command line says stands in no line of the file.
        line = None if given else document.line(place)
        told = f"{message} (given as --{place[1]})" if given else message
        faults.setdefault((path, message), Fault(path, told, line))

    for fault in document.repeated:
        faults[fault.path, fault.message] = fault
    settings = None
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            for place, message in _explain(detail, data):
                add(place, message)
    for place, message in cross_check(data):
        add(place, message)
    if faults or settings is None:
        raise ConfigError(source, faults.values())
    return Loaded(
        settings,
        folder,
        tuple(Fault(join_path(place), text, document.line(place)) for place, text in _incomplete(settings)),
        tuple(Fault(join_path(place), text, document.line(place)) for place, text in _one_door_only(settings)),
    )


def _override(data: dict[str, Any], overrides: Mapping[str, Mapping[str, Any]]) -> None:
    for section, keys in overrides.items():
        found = data.get(section) or {}
        data[section] = {**found, **keys} if isinstance(found, dict) else found


# Pydantic's words, in ours.

_SIMPLE: Final = {
    "missing": "is missing",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "list_type": "must be a list; write [] for an empty one",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "string_too_short": "must not be empty",
}
_READ_AS: Final = {bool: "true or false", int: "a number", float: "a number"}
_ONE_WAY_IN: Final = frozenset({"token", "password"})


def _fields(model: type[Model]) -> dict[str, Any]:
    return {str(field.alias or name): field.annotation for name, field in model.model_fields.items()}


def _model(annotation: Any) -> type[Model] | None:
    """Return the model that a field holds: itself, or as an alternative, in a list or under the keys of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _keys_beside(place: Sequence[str | int]) -> tuple[str, ...]:
    """Return the keys that may stand where the last one of `place` stands."""
    model: type[Model] | None = Settings
    for part in place[:-1]:
        # A gateway's id and a position in a list lead to the model that is known already.
        if model is not None and part in _fields(model):
            model = _model(_fields(model)[str(part)])
    return tuple(_fields(model)) if model is not None else ()


def _explain(detail: ErrorDetails, data: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Turn one of pydantic's errors into a place of the file and a text; nothing for a union's other branch."""
    place: list[str | int] = []
    node: Any = data
    if detail["loc"][-1] == "[key]" and not isinstance(detail["input"], str):
        yield tuple(detail["loc"][:-2]), f"the key {detail['input']!r} is no text: put it in quotes"
        return
    for part in detail["loc"]:
        if (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int) and part < len(node)
        ):
            node = node[part]  # type: ignore[index]  # a key or a position, as checked
        elif detail["type"] == "missing" and part == detail["loc"][-1]:
            pass
        elif isinstance(part, str) and isinstance(node, list) != part.startswith("list["):
            # Of a union, only the branch that the value could have meant is of interest.
            if part.startswith(("list[", "literal[")):
                return
            continue
        else:
            continue
        place.append(part)
    yield tuple(place), _message(detail, place, node)


def _message(detail: ErrorDetails, place: list[str | int], value: Any) -> str:
    kind = detail["type"]
    context = detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return _unknown_key(place)
    if kind == "string_type":
        return _no_text(value)
    if kind == "literal_error":
        quotes = "; YAML reads this as true or false: put it in quotes" if isinstance(value, bool) else ""
        return f"must be {context['expected']}, not {_shown(value)}{quotes}"
    if kind == "list_type" and place[-1:] == ["allowUsers"]:
        return "must be a list of users; only [], written out, lets everyone in whom the proxy names"
    if kind == "list_type" and place[:1] == ["listen"]:
        return "must be an address such as 127.0.0.1:9191, or a list of them"
    if kind == "too_long":
        return f"must have {context['max_length']} entries at most"
    if kind == "too_short":
        return "must not be empty"
    return _SIMPLE.get(kind, detail["msg"])


def _no_text(value: Any) -> str:
    if value is None:
        return "must be text, and nothing is there"
    if isinstance(value, list | dict):
        return f"must be text, not a {'list' if isinstance(value, list) else 'mapping'}"
    return f"must be text; YAML reads this as {_READ_AS.get(type(value), 'something else')}: put it in quotes"


def _unknown_key(place: list[str | int]) -> str:
    key = str(place[-1])
    if place[-2:-1] == ["auth"] and key in _ONE_WAY_IN:
        return "is refused beside trusted-proxy: a second way in would not pass the proxy; remove it"
    import difflib  # noqa: PLC0415 - for a fault alone

    close = difflib.get_close_matches(key, _keys_beside(place), 1)
    return f"unknown key; did you mean `{close[0]}`?" if close else "unknown key here: remove it"


def _shown(value: Any) -> str:
    """Return a value for a message. A list or mapping is not written out: by its anchors it may be endless."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return reprlib.repr(value)


# What loads, and is said.


def _incomplete(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name, gateway in settings.gateways.items():
        trusted_proxy = gateway.auth.trusted_proxy if gateway.auth is not None else None
        if trusted_proxy is None:
            yield ("gateways", name, "auth", "trustedProxy"), _denies(reasons.CONFIG_MISSING)
        if not gateway.trusted_proxies and not gateway.trusted_principals:
            yield ("gateways", name, "trustedProxies"), _denies(reasons.NO_PROXIES)
        if trusted_proxy is None or trusted_proxy.assertion is not None:
            continue
        if not trim(trusted_proxy.user_header or ""):
            yield ("gateways", name, "auth", "trustedProxy", "userHeader"), _denies(reasons.USER_MISSING)


def _denies(reason: reasons.Reason) -> str:
    return f"the gateway is incomplete and denies every request with {reason.code}: {reason.cure}"


def _one_door_only(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where a certificate is wanted, which nobody can show or tell of over HTTP."""
    unseen = "no client certificate is seen at the HTTP doors: they refuse every caller"
    if settings.callers.principals:
        yield ("callers", "principals"), unseen
    for name, gateway in settings.gateways.items():
        if gateway.callers is not None and gateway.callers.principals:
            yield ("gateways", name, "callers", "principals"), f"{unseen} of this gateway"
        if gateway.trusted_principals:
            address_alone = gateway.trusted_proxies and gateway.require == "any"
            then = "the address alone decides there" if address_alone else "they deny every request of this gateway"
            yield ("gateways", name, "trustedPrincipals"), f"no principal is told of at the HTTP doors: {then}"
