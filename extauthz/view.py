"""What the admin address may look at of a running service: a view, from which nothing can be changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from extauthz.assertion.assertions import Assertions
from extauthz.authorizer import Snapshot
from extauthz.peers import PeerStatus
from extauthz.reload import ReloadStatus
from extauthz.stamp.keys import KeyDirectory
from extauthz.stamp.signer import Signatures
from extauthz.telemetry.decision_log import DecisionLog
from extauthz.telemetry.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A running service, seen from outside. Each callable returns what holds at this moment, and never raises.

    Attributes:
        started: When the process was started, in Unix seconds.
        ready: Whether it serves and does not go.
        snapshot: What decides.
        reloads: The configuration in force, and what came of the last attempt to change it.
        keys: The stamp keys; None while stamping is off.
        signatures: How many stamps were signed.
        telemetry: The counts, and what was dropped.
        decision_log: How many lines were written, and how many could not be.
        peers: What is known of the names in `trustedProxies`.
        assertions: The keys of the proxies' signed tokens, and how many signatures were verified.
    """

    started: float
    ready: Callable[[], bool]
    snapshot: Callable[[], Snapshot]
    reloads: Callable[[], ReloadStatus]
    keys: Callable[[], KeyDirectory | None]
    signatures: Signatures
    telemetry: Telemetry
    decision_log: DecisionLog
    assertions: Assertions
    peers: Callable[[], Sequence[PeerStatus]] = tuple
