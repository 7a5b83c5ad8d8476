"""The file as text and places: YAML, or JSON, read strictly, and every value's line can be told."""

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final

import yaml

from extauthz.config.faults import ConfigError, Fault, join_path
from extauthz.config.plain_yaml import MOST_LEVELS, Loader, UncommonError, read_plain

# A configuration of 100,000 users has 3 MB; what is larger is not one.
LARGEST_FILE_BYTES: Final = 64 * 1024 * 1024

_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_TOO_DEEP: Final = "this is no configuration: it is nested too deeply"


class Document:
    """One parsed file.

    Attributes:
        source: The file's name, for messages.
        data: Its content as plain Python values.
        repeated: The keys that stand twice.
    """

    data: Any = None

    def __init__(self, source: str, text: str) -> None:
        """Parse the text.

        Raises:
            ConfigError: It is no YAML or is empty; with the line.
        """
        self.source = source
        self.repeated: tuple[Fault, ...] = ()
        self._text: Final = text
        # By the identity of a mapping's node: what stands in it, by its keys.
        self._entries: Final[dict[int, dict[Any, tuple[yaml.Node, yaml.Node]]]] = {}
        self.data = _json(text)
        if self.data is None:
            with suppress(UncommonError, yaml.YAMLError, RecursionError, ValueError):
                self.data = read_plain(text)
        if self.data is None:
            self._read_in_full()

    def _read_in_full(self) -> None:
        """Read what is of no common kind, and tell what is wrong with it."""
        loader = Loader(self._text)
        try:
            self._refuse_depth()
            root = loader.get_single_node()
            if root is None:
                raise ConfigError(self.source, [Fault("", "the file is empty: a minimal one has `gateways`")])
            self.repeated = tuple(_repeated_keys(root))
            self.data = loader.construct_document(root)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise ConfigError(self.source, [_yaml_fault(error)]) from error
        finally:
            loader.dispose()

    def _refuse_depth(self) -> None:
        """Refuse what is nested deeper than any configuration, before nodes are made of it.

        These are made by a function in C that calls itself: a file of brackets would end the process without a word.
        """
        level = 0
        for event in yaml.parse(self._text, Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                level += 1
                if level > MOST_LEVELS:
                    line = event.start_mark.line + 1 if event.start_mark is not None else None
                    raise ConfigError(self.source, [Fault("", _TOO_DEEP, line)])
            elif isinstance(event, yaml.CollectionEndEvent):
                level -= 1

    @cached_property
    def _root(self) -> yaml.Node | None:
        """The nodes of the file, with their places: made when a line is asked for, because they are large.

        Of a JSON file the lines may be lost: JSON writes some characters in a way that YAML does not know.
        """
        loader = Loader(self._text)
        try:
            root: yaml.Node | None = loader.get_single_node()
        except (yaml.YAMLError, RecursionError, ValueError):
            return None
        finally:
            loader.dispose()
        return root

    def _entry(self, node: yaml.MappingNode, name: str | int) -> tuple[yaml.Node, yaml.Node] | None:
        entries = self._entries.get(id(node))
        if entries is None:
            # Of a key that stands twice, the first.
            entries = self._entries[id(node)] = {
                key.value: (key, value) for key, value in reversed(node.value) if isinstance(key, yaml.ScalarNode)
            }
        return entries.get(name)

    def line(self, path: Sequence[str | int]) -> int | None:
        """Return the line of the value at `path`, or of the deepest part of it that is there."""
        node, line = self._root, None
        for part in path:
            line = node.start_mark.line + 1 if node is not None and node.start_mark is not None else line
            if isinstance(node, yaml.MappingNode):
                entry = self._entry(node, part)
                if entry is None:
                    return line
                node, line = entry[1], entry[0].start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                return line
        return line


def _json(text: str) -> Any:
    """Read a file that is JSON as JSON; None if it is none.

    Nearly all of JSON is YAML too, but not its pairs of surrogates, in which programs write what is beyond U+FFFF.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        data = json.loads(text, object_pairs_hook=_once)
        json.dumps(data, ensure_ascii=False).encode()  # half a pair is no character
    except (ValueError, RecursionError):
        return None
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")  # YAML is asked then, and tells which
    return found


def _repeated_keys(root: yaml.Node) -> list[Fault]:
    """Find keys that stand twice in one mapping: YAML would let the last one win, silently."""
    faults: list[Fault] = []
    seen: set[int] = set()
    pending: list[tuple[tuple[str | int, ...], yaml.Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE_TAG:
                    continue
                if key.value in keys:
                    line = key.start_mark.line + 1
                    faults.append(Fault(join_path((*path, key.value)), "stands here a second time: keep one", line))
                keys.add(key.value)
                pending.append(((*path, key.value), value))
        elif isinstance(node, yaml.SequenceNode) and any(not isinstance(item, yaml.ScalarNode) for item in node.value):
            pending.extend(((*path, index), item) for index, item in enumerate(node.value))
    return faults


def _yaml_fault(error: Exception) -> Fault:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        what = " ".join(part for part in (error.context, error.problem) if part)
        return Fault("", f"this is no YAML: {what}", error.problem_mark.line + 1)
    if isinstance(error, RecursionError):
        return Fault("", _TOO_DEEP)
    return Fault("", f"this is no YAML: {error}")
