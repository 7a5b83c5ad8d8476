"""nginx's configuration from settings: one nginx.conf, complete and hardened, with its reasons beside each line.

Only what is nginx's own lives here; the text is nginx.conf.j2. Facts about nginx were seen on 1.22.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from extauthz.proxies import forward_auth, values

_SAFE = re.compile(r"[A-Za-z0-9_\[\]:./~+@-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(forward_auth.Settings):
    """What the configuration is written from: what all three proxies share, and where nginx keeps its files."""

    SAID: ClassVar[frozenset[str]] = frozenset({"x-original-method", "x-original-uri", "x-forwarded-host"})

    directory: str = "/var/lib/nginx"
    """Where nginx keeps bodies that it buffers; it must be there."""
    pid: str = "/run/nginx.pid"
    """The file with the id of nginx's first process."""
    error_log: str = "/var/log/nginx/error.log"
    """Where it tells what went wrong."""
    access_log: str = "/var/log/nginx/access.log"
    """Where it writes one line of JSON for each request."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        _view(self)


def render(settings: Settings) -> str:
    """Return the configuration, ready for `nginx -c`."""
    return forward_auth.template("nginx.conf.j2", _written).render(_view(settings))


def _view(settings: Settings) -> dict[str, object]:
    own = {name: values.plain_path(getattr(settings, name), name) for name in _FILES}
    seen = forward_auth.view(settings)
    return {**seen, **own, "loopback_peer": "127.0.0.1", "milliseconds": round(settings.timeout * 1000)}


_FILES = ("directory", "pid", "error_log", "access_log")


def _written(value: object) -> str:
    # nginx has no way to quote `$`: nothing but plain signs may come here.
    text = str(value)
    if not _SAFE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be written into nginx's configuration")
    return text
