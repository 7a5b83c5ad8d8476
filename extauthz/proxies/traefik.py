"""Traefik's configuration from settings: one file, static and dynamic parts, hardened, with its reasons beside them.

Only what is Traefik's own lives here; the text is traefik.yaml.j2. Facts about Traefik were seen on 3.7.
"""

import json
from dataclasses import dataclass
from typing import Final

from extauthz.proxies import forward_auth, values

_HOST: Final = r"HostRegexp(`^([A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?)$`)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(forward_auth.Settings):
    """What the configuration is written from: what all three proxies share, and where Traefik finds the file itself."""

    file: str = "/etc/traefik/traefik.yaml"
    """Where the configuration will be: Traefik reads its routes out of the same file, which must say where that is."""

    def __post_init__(self) -> None:
        """Check every value; see the class."""
        _view(self)


def render(settings: Settings) -> str:
    """Return the configuration as YAML, ready for `traefik --configFile`."""
    return forward_auth.template("traefik.yaml.j2", _written).render(_view(settings))


def _view(settings: Settings) -> dict[str, object]:
    if len(settings.extauthz) > 1:
        raise ValueError("extauthz: Traefik asks at one address; put a balancer of TCP before several processes")
    return {**forward_auth.view(settings), "file": values.plain_path(settings.file, "file"), "host": _HOST}


def _written(value: object) -> str:
    # JSON's scalars and lists are YAML's too. As every value passes here, none can end a string and begin syntax.
    return json.dumps(value)
