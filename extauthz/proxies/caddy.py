"""Caddy's configuration from settings: one Caddyfile, complete and hardened, with its reasons beside each line.

Only what is Caddy's own lives here; the text is Caddyfile.j2. Facts about Caddy were seen on 2.11.
"""

import re
from dataclasses import dataclass

from extauthz.proxies import forward_auth, values

_SAFE = re.compile(r"[A-Za-z0-9_:./~+@-]*|\[[0-9a-f:.]+\](?::[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(forward_auth.Settings):
    """What the configuration is written from: what all three proxies share, and Caddy's own way to authenticate."""

    authentication_file: str | None = None
    """A file of Caddy's directives that authenticate, such as `basic_auth` or a plugin's, in the place of a service:
    the user is then what they leave in `{http.auth.user.id}`, and a client's `authenticated_headers` are gone before
    they run: they may set them with `request_header`."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        _view(self)

    @property
    def authenticates(self) -> bool:
        """Whether a step of this proxy says who the user is."""
        return self.authenticate is not None or self.authentication_file is not None


def render(settings: Settings) -> str:
    """Return the configuration, ready for `caddy run --config`."""
    return forward_auth.template("Caddyfile.j2", _written).render(_view(settings))


def _view(settings: Settings) -> dict[str, object]:
    file = settings.authentication_file
    if file is not None and settings.authenticate is not None:
        raise ValueError("authentication_file: a service authenticates already; which of them names the user?")
    return {
        **forward_auth.view(settings),
        "authentication_file": None if file is None else values.plain_path(file, "authentication_file"),
        "milliseconds": round(settings.timeout * 1000),
    }


def _written(value: object) -> str:
    # Braces, quotes and white space are Caddy's syntax, quoted or not: nothing but plain signs may come here.
    text = str(value)
    if not _SAFE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be written into Caddy's configuration")
    return text
