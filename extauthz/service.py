"""The service: doors opened, configuration and keys looked at while it runs, drained at the end."""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Final

from extauthz import __version__, process
from extauthz.assembly import (
    AssemblyError,
    decision_log_settings,
    make_snapshot,
    open_admin_token,
    open_certificates,
    open_decision_log,
    open_keys,
    server_faults,
)
from extauthz.assertion.assertions import Assertions
from extauthz.authorizer import Authorizer
from extauthz.build import build
from extauthz.config.compile import UNRESOLVED, follow_peers
from extauthz.config.load import Loaded
from extauthz.config.values import seconds
from extauthz.console import Console
from extauthz.doors.certificates import CertificateError
from extauthz.doors.configured import admin_door, grpc_door, http_door, open_unless_default
from extauthz.doors.endpoints import DoorError
from extauthz.key_watch import KeyWatch
from extauthz.logs import get_logger
from extauthz.metrics import Metrics
from extauthz.notify import Notifier
from extauthz.peers import Peers, PeerSettings, wanted_names
from extauthz.reload import RefusedError, Reloader
from extauthz.stamp.jwks import Jwks
from extauthz.stamp.signer import Signatures
from extauthz.telemetry import otel
from extauthz.telemetry.output import OutputError
from extauthz.telemetry.prometheus import Exposition
from extauthz.telemetry.recent import Recent
from extauthz.telemetry.telemetry import Telemetry
from extauthz.view import View

_log: Final = get_logger(__name__)

# How often configuration and keys are looked at: well below the time for which a new key is only published.
LOOK_SECONDS: Final = 1.0

# The service is taken for dead, and systemd's watchdog is fed no longer, when nothing was looked at for so long: as
# long as the largest configuration takes to be read, several times over.
LOST_SECONDS: Final = 60.0

# After it said that it goes, the service still answers while it is still asked: a proxy that hears of it by health
# checks needs some of these. It ends when nobody has asked for so long, at the latest after this share of the drain.
QUIET_SECONDS: Final = 0.25
FAREWELL_SHARE: Final = 0.5

# How long a start, and a reload that brings new names, waits for the first answers about names in `trustedProxies`.
# What is not known then trusts nobody until it is.
FIRST_ANSWERS_SECONDS: Final = 3.0

# What wakes the main thread beside signals: there is news about a name. No signal has this number.
NEWS: Final = 0


class Service:
    """One process of the service.

    Attributes:
        authorizer: What decides; its snapshot is what is in force.
        telemetry: What looks on.
        decision_log: What writes the decisions.
        metrics: What a scrape gets.
        reloader: What reads the configuration again.
        keys: The stamp keys; None while stamping is off.
        peers: Whom the names in `trustedProxies` stand for.
        assertions: What verifies the proxies' signed tokens.
        ready: It serves, and does not go.
        view: All of this, for those who only look.
    """

    def __init__(self, file: Path, loaded: Loaded, read: Callable[[], Loaded]) -> None:
        """Put everything together; nothing listens yet.

        Args:
            file: The configuration file.
            loaded: What stands in it.
            read: Reads it again; raises ConfigError.

        Raises:
            AssemblyError: A file of the configuration cannot be used, or there is no key to sign with.
        """
        process.share_memory_pools()  # before the gRPC library starts its threads
        settings = loaded.settings
        if (fault := next(server_faults(settings.server), None)) is not None:
            raise AssemblyError(f"{fault.path}: {fault.message}")
        self.ready = False
        self.keys = open_keys(loaded)
        self._keys_of: tuple[object, ...] = _keys_wanted(loaded)
        recent = Recent(
            lambda: self.telemetry.tally.read(),  # noqa: PLW0108 - which is made of this
            lambda: self.reloader.status.loaded.settings.decision_log.redact,
        )
        self.decision_log: Final = open_decision_log(loaded)
        self._otel: Final = otel.start(
            os.environ,
            lambda: self._metrics.measure(),  # noqa: PLW0108 - made below
            version=__version__,
        )
        self.telemetry: Final = Telemetry((self.decision_log, recent, *([self._otel] if self._otel else [])))
        self._signatures: Final = Signatures()
        self.peers: Final = Peers(lambda: self._signals.put(NEWS))
        self.peers.want(wanted_names(loaded), PeerSettings.configured(loaded))
        # What names stand for in the policy in force.
        self._followed = UNRESOLVED
        self.assertions: Final = Assertions()
        first = make_snapshot(loaded, self.keys, self._signatures, verifiers=self.assertions.verifier)
        self.authorizer: Final = Authorizer(first, self.telemetry, recalls=self._otel is None)
        self.reloader: Final = Reloader(file, loaded, read, self._apply)
        self.view: Final = View(
            started=time.time(),
            ready=lambda: self.ready,
            snapshot=lambda: self.authorizer.snapshot,
            reloads=lambda: self.reloader.status,
            keys=lambda: self.keys,
            signatures=self._signatures,
            telemetry=self.telemetry,
            decision_log=self.decision_log,
            peers=self.peers.statuses,
            assertions=self.assertions,
        )
        self._metrics: Final = Metrics(self.view)
        self.metrics: Final = Exposition(self._metrics.measure)
        self._loaded: Final = loaded
        self._watch: Final = KeyWatch()
        self._notifier: Final = Notifier.from_environment()
        self._looked = time.monotonic()
        # Of the tools to wake the main thread, the one that its own signal handler may use: an Event's lock is not for
        # who already holds it, and a signal that came while it was held would stop the thread for ever.
        self._signals: Final[queue.SimpleQueue[int]] = queue.SimpleQueue()
        try:
            certificates = open_certificates(loaded)
        except CertificateError as error:
            raise AssemblyError(f"tls: {error}") from error
        traced = self._otel is not None and self._otel.traces
        self._grpc: Final = grpc_door(settings, self.authorizer, certificates, traced=traced)
        self._http: Final = http_door(settings, self.authorizer, self._jwks)
        console = Console(self.view, recent)
        self._admin: Final = admin_door(
            settings, console, open_admin_token(loaded), self.view.ready, self.metrics.render
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain. To be called in the main thread, once.

        Raises:
            DoorError: A door cannot be opened.
        """
        self._say_notes()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._open()
        ended = self._look_after()
        self._close(ended)

    def _say_notes(self) -> None:
        for fault in self._loaded.notices:
            _log.warning("note about the configuration", path=fault.path, note=fault.message)
        for fault in self._loaded.incomplete:
            _log.error("a gateway is incomplete", path=fault.path, note=fault.message)
        if self.keys is None:
            _log.warning("stamping is off: the Gateway cannot tell who set its headers", path="stamp.enabled")

    def _open(self) -> None:
        settings = self._loaded.settings
        process.raise_file_limit()
        process.share_the_interpreter()
        self.telemetry.start()
        self._await_first_answers()
        # Last the door with the health service: when it says that the service serves, every door does.
        try:
            open_unless_default(self._http, "http", settings)
            open_unless_default(self._admin, "admin", settings)
            self._grpc.start()
        except DoorError:
            self._http.drain()
            self._admin.drain()
            self.peers.close()
            self.assertions.close()
            self.telemetry.close()
            raise
        self.ready = True
        _log.info(
            "serving",
            version=__version__,
            build=build(),
            grpc=[str(endpoint) for endpoint in self._grpc.endpoints],
            http=[str(endpoint) for endpoint in self._http.endpoints],
            admin=[str(endpoint) for endpoint in self._admin.endpoints],
            gateways=len(settings.gateways),
            tls=settings.tls is not None,
            policy=self.authorizer.snapshot.version,
        )
        process.settle_memory()
        self._notifier.ready(self._status_line())
        self._notifier.feed_watchdog(self._is_alive)

    def _await_first_answers(self) -> None:
        """Wait a moment for names and for issuers' keys: an allow that comes a second late is no denial."""
        self.peers.start()
        self.assertions.start(0)
        if not self.peers.wait(FIRST_ANSWERS_SECONDS):
            _log.warning("serving without waiting for every name in trustedProxies: what is not known trusts nobody")
        self._follow_peers()
        self.assertions.start()

    def _follow_peers(self) -> None:
        """Put the addresses that names stand for now into force, between two requests. For the main thread alone."""
        peers, snapshot = self.peers.look(), self.authorizer.snapshot
        if peers is self._followed:
            return
        policy = follow_peers(self.reloader.status.loaded, snapshot.policy, peers)
        if policy is not snapshot.policy:
            self.authorizer.use(replace(snapshot, policy=policy))
        self._followed = peers

    def _status_line(self) -> str:
        status = self.reloader.status
        refused = "; the new configuration is refused, see the log" if status.faults else ""
        count = len(status.loaded.settings.gateways)
        return f"serving {count} {'gateway' if count == 1 else 'gateways'}{refused}"

    def _is_alive(self) -> bool:
        """Tell whether the doors' threads run and the files are looked at."""
        doors = self._http.is_alive() and self._grpc.is_alive()
        return doors and time.monotonic() - self._looked < LOST_SECONDS

    def _reload(self, reread: Callable[[], object]) -> None:
        """Read again what changed, and let systemd know how it went."""
        before = self.reloader.status
        reread()
        if self.reloader.status is not before:
            self._notifier.status(self._status_line())

    def _look_after(self) -> signal.Signals:
        """Look at files and keys until a signal ends the service; returns which."""
        self._watch.look(self.keys)
        while True:
            came = self._await_signals()
            came.discard(NEWS)
            for number in came:
                if number != signal.SIGHUP:
                    return signal.Signals(number)
            try:
                self._follow_peers()
                # News of names is no reason to look at files: what is being written comes to rest between two looks.
                if came or time.monotonic() - self._looked >= LOOK_SECONDS:
                    self._looked = time.monotonic()
                    self._look(asked=bool(came))
            except Exception:  # noqa: BLE001 - whatever it is, it is no reason to stop answering
                _log.exception("the files could not be looked at")

    def _look(self, *, asked: bool) -> None:
        if asked:
            self._notifier.reloading()
            self._reload(self.reloader.reload)
            self._notifier.ready(self._status_line())
        self._reload(self.reloader.look)
        self._watch.look(self.keys)

    def _await_signals(self) -> set[int]:
        """Return the signals and the news since the last time; for the first of them it waits LOOK_SECONDS at most."""
        came: set[int] = set()
        with suppress(queue.Empty):
            came.add(self._signals.get(timeout=LOOK_SECONDS))
            while True:
                came.add(self._signals.get_nowait())
        return came

    def _close(self, ended: signal.Signals) -> None:
        drain_seconds = self._loaded.settings.server.drain_seconds
        _log.info("stopping", signal=ended.name, drain_seconds=drain_seconds)
        self.ready = False
        self._notifier.stopping("draining")
        self._grpc.leave()
        began = time.monotonic()
        self._answer_the_last(drain_seconds * FAREWELL_SHARE)
        self.peers.close()
        left = max(0.0, drain_seconds - (time.monotonic() - began))
        # Both at once: what is under way at one has no less time for what is under way at the other.
        closing = threading.Thread(target=self._http.drain, name="extauthz-http-drain")
        closing.start()
        self._grpc.drain(left)
        closing.join()
        self.assertions.close()
        self.telemetry.close()
        # Last, so that whoever asks hears that it goes, and not that it is gone.
        self._admin.drain()
        _log.info("stopped")

    def _answer_the_last(self, longest: float) -> None:
        """Go on answering until nobody asks any more, for `longest` seconds at most."""
        end = time.monotonic() + longest
        answered = -1
        while (now := self.telemetry.tally.total) != answered and time.monotonic() < end:
            answered = now
            time.sleep(min(QUIET_SECONDS, longest))

    def _apply(self, loaded: Loaded) -> None:
        """Put a configuration into force, between two requests; raises RefusedError and changes nothing."""
        try:
            self._change(loaded)
        finally:
            # What a configuration wanted that is not in force is wanted no more.
            self.assertions.keep(self.authorizer.snapshot.policy)

    def _change(self, loaded: Loaded) -> None:
        wanted = _keys_wanted(loaded)
        try:
            keys = self.keys if wanted == self._keys_of else open_keys(loaded)
            snapshot = make_snapshot(
                loaded,
                keys,
                self._signatures,
                refusals=self.authorizer.snapshot.refusals,
                verifiers=self.assertions.verifier,
            )
        except AssemblyError as error:
            raise RefusedError(str(error)) from error
        try:
            log = self.decision_log.prepare(decision_log_settings(loaded))
        except OutputError as error:
            raise RefusedError(f"decisionLog.output: {error}") from error
        # From here on nothing can fail.
        self.assertions.start(0)
        self.peers.want(wanted_names(loaded), PeerSettings.configured(loaded))
        self.peers.wait(FIRST_ANSWERS_SECONDS)
        peers = self.peers.look()
        snapshot = replace(snapshot, policy=follow_peers(loaded, snapshot.policy, peers))
        self.assertions.start()
        self.decision_log.follow(log)
        # The keys first: no stamp is signed by a key that the JWKS does not have.
        self.keys, self._keys_of = keys, wanted
        self.authorizer.use(snapshot)
        self._followed = peers

    def _jwks(self) -> Jwks | None:
        return self.keys.jwks() if self.keys is not None else None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: a signal that comes while a line is written must not try to write another.
        self._signals.put(number)


def _keys_wanted(loaded: Loaded) -> tuple[object, ...]:
    """Return what a directory of keys is opened by: while it stays the same, so does the directory."""
    stamp = loaded.settings.stamp
    return (stamp.enabled, loaded.path(stamp.keys), seconds(stamp.lifetime))
