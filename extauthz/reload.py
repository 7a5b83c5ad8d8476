"""The configuration file, read again when it changes: a good one takes effect, a bad one changes nothing and is told.

What takes effect is decided by whoever is given the new configuration; here is when it is read, and what came of it.
The file is looked at, not listened to: that is the same for an editor, a copy, and a ConfigMap whose symlink is
swapped, on every file system.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from extauthz.config.faults import ConfigError
from extauthz.config.load import Loaded, signature
from extauthz.config.schema import GatewayModel, Model, Settings
from extauthz.logs import get_logger

_log: Final = get_logger(__name__)

# What a running process cannot change: it names them, and goes on with what it started with.
WANT_RESTART: Final = (
    ("listen",),
    ("tls",),
    ("server",),
    ("admin",),
    ("limits", "message_bytes"),
)


class RefusedError(Exception):
    """A configuration that can be read cannot take effect; the text says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadStatus:
    """What is in force, and what came of the last attempt to change it.

    Attributes:
        loaded: The configuration in force.
        since: When it took effect, in Unix seconds.
        succeeded: How many configurations took effect since the start, without the first.
        failed: How many were refused.
        attempted: When one was last read, in Unix seconds; None if never since the start.
        faults: Everything that is wrong with the last one; () if it is in force.
        waiting: The keys of the last one that take effect when the service is started again.
    """

    loaded: Loaded
    since: float
    succeeded: int = 0
    failed: int = 0
    attempted: float | None = None
    faults: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class Reloader:
    """Reads the file again. Called by one thread; `status` may be read by any.

    Attributes:
        status: Replaced by one assignment.
    """

    def __init__(
        self,
        file: Path,
        loaded: Loaded,
        read: Callable[[], Loaded],
        apply: Callable[[Loaded], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Remember what the file looked like when it was read.

        Args:
            file: The file.
            loaded: The configuration in force, as the file had it.
            read: Reads and checks the file; raises ConfigError.
            apply: Puts a configuration into force, all of it or nothing; raises RefusedError.
            clock: Unix seconds.
        """
        self.status = ReloadStatus(loaded=loaded, since=clock())
        self._file: Final = file
        self._read: Final = read
        self._apply: Final = apply
        self._clock: Final = clock
        self._started_with: Final = loaded.settings
        # Not as it is now: it may have been written again since it was read.
        self._seen = loaded.seen
        self._changing = self._seen

    def look(self) -> None:
        """Read the file if it changed, and has not changed since the look before this one.

        A file that is just being written may be readable and shorter than it will be: a list of users that is cut
        off lets in everyone. So nothing is read before it has come to rest.
        """
        seen = signature(self._file)
        if seen == self._seen or seen != self._changing:
            self._changing = seen
        else:
            self.reload()

    def reload(self) -> bool:
        """Read the file now. Returns whether it took effect; never raises for what is wrong with it."""
        before = signature(self._file)
        faults: tuple[str, ...]
        try:
            loaded = self._read()
            if signature(self._file) != before:
                return False  # it changed while it was read: the next look sees that
            _refuse_silent_loosening(self.status.loaded.settings, loaded.settings)
            self._apply(loaded)
        except ConfigError as error:
            faults = tuple(str(fault) for fault in error.faults)
        except RefusedError as error:
            faults = (str(error),)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service goes on with what it has
            _log.exception("the configuration could not be read again")
            faults = (f"unforeseen: {type(error).__name__}",)
        else:
            self._seen = self._changing = before
            self._take(loaded)
            return True
        self._seen = self._changing = before
        status = self.status
        self.status = replace(status, failed=status.failed + 1, attempted=self._clock(), faults=faults)
        _log.error(
            "the new configuration is refused, the old one stays in force", file=str(self._file), faults=list(faults)
        )
        return False

    def _take(self, loaded: Loaded) -> None:
        status, now = self.status, self._clock()
        waiting = tuple(_differences(self._started_with, loaded.settings))
        self.status = ReloadStatus(
            loaded=loaded,
            since=now,
            succeeded=status.succeeded + 1,
            failed=status.failed,
            attempted=now,
            waiting=waiting,
        )
        _log.info("the configuration was read again and is in force", gateways=len(loaded.settings.gateways))
        for fault in loaded.incomplete:
            _log.error("a gateway is incomplete", path=fault.path, note=fault.message)
        for key in waiting:
            _log.warning("takes effect when the service is started again", path=key)


def _refuse_silent_loosening(old: Settings, new: Settings) -> None:
    """Refuse a configuration in which a key that kept somebody out is not there any more.

    So looks a file that was cut off by whoever was writing it, and one from which a line was lost. Who means it writes
    the key with its new value. A start takes the file as it is: there is nothing before it to compare with.

    Raises:
        RefusedError: Names the first such key, and what to write.
    """
    for name, gateway in new.gateways.items():
        known = old.gateways.get(name)
        for place in _lost(known, gateway, shadow=new.mode == "shadow") if known is not None else ():
            raise RefusedError(
                f"gateways.{name}.{place} is not there any more, and would let in more than before: if that is meant, "
                "write it out, an empty list as `[]`, or start the service again"
            )


def _lost(old: GatewayModel, new: GatewayModel, *, shadow: bool) -> Iterator[str]:
    """Yield the keys of a gateway that were set, are not there any more, and kept somebody out."""
    yield from _gone("", old, new, ("callers", "ruleset", "peer", "require", *(("mode",) if shadow else ())))
    if new.ruleset == "standard":  # elsewhere, no list of origins lets in less
        yield from _gone("controlUi.", old.control_ui, new.control_ui, ("allowed_origins",))
    before = old.auth.trusted_proxy if old.auth is not None else None
    after = new.auth.trusted_proxy if new.auth is not None else None
    if before is not None and after is not None:  # without one, it is incomplete: it denies everything
        names = (
            "allow_users",
            "required_headers",
            "assertion",
            *(("allow_loopback",) if before.allow_loopback is False else ()),
        )
        yield from _gone("auth.trustedProxy.", before, after, names)
        if before.assertion is not None and after.assertion is not None:
            kept_out = ("algorithms", "max_age", "signer")
            yield from _gone("auth.trustedProxy.assertion.", before.assertion, after.assertion, kept_out)


def _gone(place: str, before: Model, after: Model, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        lost = name in before.model_fields_set and name not in after.model_fields_set
        if lost and getattr(before, name) != getattr(after, name):
            yield f"{place}{type(after).model_fields[name].alias}"


def _differences(old: Settings, new: Settings) -> list[str]:
    found = []
    for place in WANT_RESTART:
        first: object = old
        second: object = new
        for name in place:
            first, second = getattr(first, name), getattr(second, name)
        if first != second:
            head, *rest = place
            model = Settings if not rest else type(getattr(old, head))
            alias = model.model_fields[place[-1]].alias or place[-1]
            found.append(f"{head}.{alias}" if rest else alias)
    return found
