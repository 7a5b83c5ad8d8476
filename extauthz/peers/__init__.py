"""Peers by name: the addresses that the names in `trustedProxies` stand for, looked up beside the decisions.

docs/peers.md is what operators read of it. The core knows none of this: it is given a policy that has the addresses,
and another one when they change.
"""

from extauthz.peers.known import PeerStatus
from extauthz.peers.peers import Peers, PeerSettings, resolve_once, wanted_names

__all__ = ["PeerSettings", "PeerStatus", "Peers", "resolve_once", "wanted_names"]
