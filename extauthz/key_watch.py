"""Looks at the key directory while the service runs, and says what happens there."""

import time
from typing import Final

from extauthz.logs import get_logger
from extauthz.stamp.keys import KeyDirectory

_log: Final = get_logger(__name__)


class KeyWatch:
    """Looks at the key directory, and says what happens there."""

    def __init__(self) -> None:
        self._signing = ""
        self._fault: str | None = None
        self._seen: KeyDirectory | None = None

    def look(self, keys: KeyDirectory | None) -> None:
        """Read the directory again if it changed."""
        if keys is None:
            return
        if keys.refresh() or keys is not self._seen:
            self._seen = keys
            for warning in keys.warnings():
                _log.warning("stamp keys", note=warning)
        if keys.fault != self._fault:
            self._fault = keys.fault
            if self._fault is not None:
                _log.error("the stamp keys cannot be read again, the old ones are kept", error=self._fault)
            else:
                _log.info("the stamp keys can be read again")
        active = keys.keys.active(time.time())
        if active is not None and active.kid != self._signing:
            self._signing = active.kid
            _log.info("stamps are signed", kid=active.kid, algorithm=active.algorithm)
