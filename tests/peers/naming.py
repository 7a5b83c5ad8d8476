"""Names, a clock that tests set, and a name server that answers them. Nothing here judges what comes of it."""

from collections.abc import Mapping
from typing import Any

from cases.build import gateway, load_gateways
from extauthz.config.load import Loaded
from extauthz.core.policy import PeerName
from extauthz.peers import Peers, PeerSettings, PeerStatus, wanted_names
from extauthz.peers.known import Moment
from support.name_server import NameServer

NAME = "traefik.internal"
OLD, NEW, EVIL = "10.0.0.7", "10.0.0.8", "10.6.6.6"
MIN_TTL, MAX_TTL, KEEP = 5, 30, 300
BEGAN = 1_800_000_000.0


class Clock:
    """Both clocks, which stand still until a test moves them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> Moment:
        return Moment(self.seconds, BEGAN + self.seconds)


def dns_section(server: NameServer, **changed: Any) -> dict[str, Any]:
    """The `dns` block that asks this server, and waits as long as may be configured: a slow machine is no silence."""
    return {"servers": [server.address], "timeout": "5s", **changed}


def loaded_with(server: NameServer, names: Mapping[str, list[str]], **changed: Any) -> Loaded:
    """A file with these gateways, each with its entries of `trustedProxies`."""
    gateways = {name: gateway(trustedProxies=entries) for name, entries in names.items()}
    return load_gateways(gateways, dns=dns_section(server, **changed))


class Followed:
    """Peers of a file, asked in the thread of the test, on the clock of the test."""

    def __init__(self, loaded: Loaded) -> None:
        self.clock = Clock()
        self.news = 0
        self.peers = Peers(self._count, clock=self.clock)
        self.want(loaded)

    def want(self, loaded: Loaded) -> None:
        """Follow what this file has from now on."""
        self.peers.want(wanted_names(loaded), PeerSettings.configured(loaded))

    def _count(self) -> None:
        self.news += 1

    def after(self, seconds: float = 0) -> Mapping[str, PeerName]:
        """Let time pass, ask about every name that is due, and return whom the names stand for."""
        self.clock.seconds += seconds
        while self.peers.ask():
            pass
        return self.peers.look()

    def addresses(self, name: str = NAME) -> list[str]:
        """Whom a name stands for at this moment, nothing being asked."""
        return list(map(str, self.peers.look()[name].addresses))

    def status(self, name: str = NAME) -> PeerStatus:
        """What is known of a name at this moment."""
        (found,) = (status for status in self.peers.statuses() if status.name == name)
        return found
