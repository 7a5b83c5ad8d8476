"""openclaw.json read from disk, with the files that it includes. Bounded in size, number and depth.

`$include` is followed at the root and in `gateway`, as OpenClaw follows it; elsewhere it is left as it stands, for
nothing there is of interest and much of it is secret. A reference to the environment, `${NAME}`, stays text.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extauthz.openclaw.syntax import SyntaxFault, parse

LARGEST_FILE_BYTES: Final = 2 * 1024 * 1024
"""Of one file, included ones too; OpenClaw's own limit for those."""
MOST_INCLUDED_FILES: Final = 100
DEEPEST_INCLUDE: Final = 10
"""Levels of files that include files; OpenClaw's own limit."""

INCLUDE: Final = "$include"


class OpenClawError(Exception):
    """openclaw.json cannot be read. The text names the file, the line where it is known, and the cure."""


@dataclass(frozen=True, slots=True)
class OpenClawFile:
    """What OpenClaw is configured with.

    Attributes:
        file: The file, as given.
        data: All of it. Only the root and `gateway` have what they include.
        gateway: Its `gateway` block.
        included: The further files that were read, in the order in which they were.
    """

    file: Path
    data: dict[str, Any]
    gateway: dict[str, Any]
    included: tuple[Path, ...] = ()


def read(file: Path) -> OpenClawFile:
    """Read OpenClaw's configuration.

    Raises:
        OpenClawError: It cannot be read, is no JSON5, includes what may not be included, or has no `gateway` block.
    """
    included = _Includes(file)
    data = included.resolve(_parsed(file), file)
    if not isinstance(data, dict):
        raise OpenClawError(f"{file}: is no configuration of OpenClaw's: that is an object, as {{gateway: {{...}}}}")
    if "gateway" not in data:
        raise OpenClawError(f"{file}: has no `gateway` block: give the file that `openclaw config file` names")
    gateway = data["gateway"]
    if not isinstance(gateway, dict):
        raise OpenClawError(f"{file}: gateway: must be an object, as in {{gateway: {{port: 18789}}}}")
    return OpenClawFile(file, data, gateway, tuple(included.files))


def _parsed(file: Path) -> Any:
    try:
        if file.exists() and not file.is_file():
            raise OpenClawError(f"{file}: is no file; give openclaw.json itself")
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise OpenClawError(f"{file}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name with a zero byte
        raise OpenClawError(f"{str(file)!r}: is no name of a file") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise OpenClawError(f"{file}: is larger than {LARGEST_FILE_BYTES} bytes: OpenClaw's configuration is not")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise OpenClawError(f"{file}: line {line}: is no UTF-8 at byte {error.start}: save it as UTF-8") from error
    except SyntaxFault as fault:
        place = "" if fault.line is None else f"line {fault.line}, column {fault.column}: "
        raise OpenClawError(f"{file}: {place}{fault}") from fault


class _Includes:
    """What `$include` stands for. Files stay below the folder of the first one, links followed."""

    def __init__(self, file: Path) -> None:
        self.files: list[Path] = []
        self._root = _real(file.parent)
        self._open: list[Path] = [_real(file)]

    def resolve(self, value: Any, file: Path, path: tuple[str, ...] = ()) -> Any:
        """Return the value of `file` that stands at `path`, with what it includes."""
        if isinstance(value, list):
            return [self.resolve(item, file, (*path, "[]")) for item in value]
        if not isinstance(value, dict):
            return value
        own = {
            key: item if not path and key != "gateway" else self.resolve(item, file, (*path, key))
            for key, item in value.items()
            if key != INCLUDE
        }
        if INCLUDE not in value:
            return own
        names = value[INCLUDE]
        if isinstance(names, str):
            found = self._included(names, file, path)
            if not own:
                return found
        elif isinstance(names, list) and all(isinstance(name, str) for name in names):
            found = {}
            for name in names:
                found = _merged(found, self._included(name, file, path))
        else:
            raise OpenClawError(f"{file}: {_place(path)}: must be the name of a file, or a list of them")
        if own and not isinstance(found, dict):
            raise OpenClawError(f"{file}: {_place(path)}: has keys beside it, and what it includes is no object")
        return _merged(found, own)

    def _included(self, name: str, file: Path, path: tuple[str, ...]) -> Any:
        where = f"{file}: {_place(path)} {name!r}"
        if "\0" in name:
            raise OpenClawError(f"{where}: is no name of a file")
        target = file.parent / name
        real = _real(target)
        if not real.is_relative_to(self._root):
            raise OpenClawError(
                f"{where}: lies outside the folder of openclaw.json. OPENCLAW_INCLUDE_ROOTS is not read here: give a "
                "copy of the configuration with that file beside it"
            )
        if real in self._open:
            raise OpenClawError(f"{where}: includes itself, over {len(self._open)} files: remove one of the includes")
        if len(self._open) > DEEPEST_INCLUDE:
            raise OpenClawError(f"{where}: is more than {DEEPEST_INCLUDE} includes deep, which OpenClaw refuses too")
        if len(self.files) >= MOST_INCLUDED_FILES:
            raise OpenClawError(f"{where}: is one more than {MOST_INCLUDED_FILES} included files: join some")
        self.files.append(target)
        self._open.append(real)
        try:
            return self.resolve(_parsed(target), target, path)
        finally:
            self._open.pop()


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise OpenClawError(f"{path}: cannot be read: its links lead nowhere") from error


def _merged(one: Any, other: Any) -> Any:
    """Merge as OpenClaw does: objects key by key, lists one after the other, else what comes later counts."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **{key: _merged(one[key], value) if key in one else value for key, value in other.items()}}
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    return other


def _place(path: tuple[str, ...]) -> str:
    return ".".join((*path, INCLUDE))
