"""The common kind of YAML read in one pass: no anchors, tags or merges, no key twice.

Large files are written by programs, and are of this kind. PyYAML's own way makes an object of every node first, with
the places where it begins and ends: for 10,000 gateways 150 MB, and half of the time that a start takes.
"""

from typing import Any, Final

import yaml

# libyaml reads ten times as fast; the wheels of PyYAML have it.
Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# More levels than a configuration has; what is nested deeper is refused.
MOST_LEVELS: Final = 32

_TEXT: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"


class UncommonError(Exception):
    """The text is of another kind, or none at all: it has to be read in PyYAML's own way, which tells what is wrong."""


def read_plain(text: str) -> Any:
    """Return what a text of the common kind holds: what PyYAML's safe loader would make of it.

    Raises:
        UncommonError: It is of another kind.
        yaml.YAMLError: It is no YAML.
    """
    loader = Loader(text)
    try:
        return _Reader(loader).document()
    finally:
        loader.dispose()


class _Reader:
    def __init__(self, loader: Any) -> None:
        self._next: Final = loader.get_event
        self._loader: Final = loader
        # By the first character: only a text that begins so can be anything but text.
        self._resolvers: Final = type(loader).yaml_implicit_resolvers

    def document(self) -> Any:
        self._next()  # the stream begins
        begun = self._next()
        if not isinstance(begun, yaml.DocumentStartEvent):
            raise UncommonError
        data = self._value(self._next(), 0)
        self._next()  # the document ends
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise UncommonError
        return data

    def _value(self, event: Any, level: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if level > MOST_LEVELS or isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag:
            raise UncommonError
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(level + 1)
        return self._mapping(level + 1)

    def _sequence(self, level: int) -> list[Any]:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, level))
        return items

    def _mapping(self, level: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise UncommonError
            key = self._scalar(event)
            if not isinstance(key, str) or key in found:
                raise UncommonError
            found[key] = self._value(self._next(), level)
        return found

    def _scalar(self, event: Any) -> Any:
        if event.anchor is not None or event.tag:
            raise UncommonError
        value: str = event.value
        if not event.implicit[0] or (value and value[0] not in self._resolvers):
            return value
        tag = self._loader.resolve(yaml.ScalarNode, value, event.implicit)
        if tag == _TEXT:
            return value
        if tag == _MERGE:
            raise UncommonError
        return self._loader.construct_object(yaml.ScalarNode(tag, value, event.start_mark, event.end_mark))
