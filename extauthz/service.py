"""The service put together: configuration, snapshot, doors; started, waited for, drained."""

import gc
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Final

import structlog

from extauthz import __version__
from extauthz.authorizer import Authorizer, Snapshot
from extauthz.config.compile import compile_policy
from extauthz.config.faults import Fault
from extauthz.config.load import Loaded
from extauthz.config.schema import Tls
from extauthz.config.values import Endpoint, seconds
from extauthz.core.text import fold, trim
from extauthz.doors.certificates import CertificateError, Certificates
from extauthz.doors.endpoints import DoorError
from extauthz.doors.envoy_grpc import GrpcDoor, GrpcDoorSettings
from extauthz.doors.http import HttpDoor, HttpDoorSettings
from extauthz.stamp.keys import KeyDirectory, KeyDirectoryError, generate
from extauthz.stamp.keys import load as load_keys
from extauthz.stamp.keyset import Schedule
from extauthz.stamp.signer import Stamper
from extauthz.wire.answer import AnswerBuilder

_log: Final = structlog.get_logger()

# How often the directory of stamp keys is looked at: well below the time for which a new key is only published.
KEYS_LOOK_SECONDS: Final = 2.0

# How many new objects there may be before the garbage collector looks at the young ones; Python's default is 700.
COLLECT_AFTER_OBJECTS: Final = 20_000


class ServiceError(Exception):
    """The service cannot be started; the text says why and what to do."""


def open_keys(loaded: Loaded) -> KeyDirectory | None:
    """Open the directory of stamp keys, making the first key where the configuration says so; None without stamps.

    Raises:
        ServiceError: There is no key, or one that cannot be used.
    """
    stamp = loaded.settings.stamp
    if not stamp.enabled:
        return None
    folder = loaded.path(stamp.keys)
    schedule = Schedule(lifetime=int(seconds(stamp.lifetime)))
    try:
        made = generate(folder, stamp.algorithm, schedule) if stamp.generate_keys else None
        if made is not None:
            _log.info("made the first stamp key", kid=made.kid, file=str(folder / made.file))
        return KeyDirectory(folder, schedule)
    except KeyDirectoryError as error:
        raise ServiceError(str(error)) from error


def make_stamper(loaded: Loaded, keys: KeyDirectory) -> Stamper:
    """Make what signs, from a checked configuration and its keys.

    Raises:
        ServiceError: No key is of the configured algorithm.
    """
    stamp = loaded.settings.stamp
    try:
        return Stamper(
            keys,
            issuer=stamp.issuer,
            algorithm=stamp.algorithm,
            lifetime=int(seconds(stamp.lifetime)),
            bind=stamp.bind,
            reuse=seconds(stamp.reuse),
        )
    except KeyDirectoryError as error:
        raise ServiceError(f"{loaded.path(stamp.keys)}: {error}") from error


def make_snapshot(loaded: Loaded, keys: KeyDirectory | None = None) -> Snapshot:
    """Make what is in force from a checked configuration and the stamp keys; without keys, allows have no stamp.

    Raises:
        ServiceError: No key is of the configured algorithm.
    """
    settings = loaded.settings
    names = {
        "user": settings.headers.user,
        "gateway": settings.headers.gateway,
        "decision": settings.headers.decision,
        "stamp": settings.headers.stamp,
    }
    answers = AnswerBuilder(
        {key: fold(trim(name)) for key, name in names.items()},
        body=settings.denial.body,
        show_reason=settings.denial.reason,
        reuses_stamps=seconds(settings.stamp.reuse) > 0,
    )
    stamper = make_stamper(loaded, keys) if keys is not None else None
    return Snapshot(policy=compile_policy(loaded), answers=answers, stamper=stamper)


def file_faults(loaded: Loaded) -> Iterator[Fault]:
    """Yield what is wrong with the files that the configuration names."""
    if loaded.settings.tls is not None:
        try:
            _certificates(loaded, loaded.settings.tls)
        except CertificateError as error:
            yield Fault("tls", str(error))
    stamp = loaded.settings.stamp
    if stamp.enabled:
        try:
            keys = load_keys(loaded.path(stamp.keys))
            if not keys.keys and not stamp.generate_keys:
                yield Fault("stamp.keys", f"no key to sign with: run `extauthz keys generate --keys {stamp.keys}`")
            if keys.keys and all(key.algorithm != stamp.algorithm for key in keys.published(time.time())):
                yield Fault(
                    "stamp.algorithm", f"no {stamp.algorithm} key is in {stamp.keys}: set the algorithm of its keys"
                )
        except KeyDirectoryError as error:
            yield Fault("stamp.keys", str(error))


def serve(loaded: Loaded) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises:
        ServiceError: A file of the configuration cannot be used, or there is no key to sign with.
        DoorError: A door cannot be opened.
    """
    settings = loaded.settings
    _raise_file_limit()
    for fault in loaded.notices:
        _log.warning("note about the configuration", path=fault.path, note=fault.message)
    for fault in loaded.incomplete:
        _log.error("a gateway is incomplete", path=fault.path, note=fault.message)
    stopped = threading.Event()

    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        # Nothing is logged here: a signal that comes while a line is written must not try to write another.
        received.append(number)
        stopped.set()

    try:
        certificates = _certificates(loaded, settings.tls) if settings.tls is not None else None
    except CertificateError as error:
        raise ServiceError(f"tls: {error}") from error
    narrower = (gateway.callers.principals for gateway in settings.gateways.values() if gateway.callers is not None)
    keys = open_keys(loaded)
    if keys is None:
        _log.warning("stamping is off: the Gateway cannot tell who set its headers", path="stamp.enabled")
    authorizer = Authorizer(make_snapshot(loaded, keys))
    grpc_door = GrpcDoor(
        authorizer.check,
        authorizer.admits,
        GrpcDoorSettings(
            endpoints=tuple(map(Endpoint.parse, settings.listen.grpc)),
            certificates=certificates,
            read_principals=bool(settings.callers.principals) or any(narrower),
            most_calls=settings.server.max_concurrent,
            most_message_bytes=settings.limits.message_bytes,
        ),
    )
    http_door = HttpDoor(
        authorizer,
        HttpDoorSettings(
            endpoints=tuple(map(Endpoint.parse, settings.listen.http)),
            most_connections=settings.server.max_concurrent,
            most_headers=settings.limits.headers,
            most_head_bytes=settings.limits.message_bytes,
            drain_seconds=settings.server.drain_seconds,
            jwks=keys.jwks if keys is not None else None,
        ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    # Last the door with the health service: when it says that the service serves, every door does.
    _open_http(http_door, named="http" in settings.listen.model_fields_set)
    try:
        grpc_door.start()
    except DoorError:
        http_door.drain()
        raise
    _log.info(
        "serving",
        version=__version__,
        grpc=[str(endpoint) for endpoint in grpc_door.endpoints],
        http=[str(endpoint) for endpoint in http_door.endpoints],
        gateways=len(settings.gateways),
        tls=certificates is not None,
    )
    _settle_memory()
    _watch(keys, stopped)
    _log.info("stopping", signal=signal.Signals(received[0]).name, drain_seconds=settings.server.drain_seconds)
    # Both at once: what is under way at one has no less time for what is under way at the other.
    closing = threading.Thread(target=http_door.drain, name="extauthz-http-drain")
    closing.start()
    grpc_door.drain(settings.server.drain_seconds)
    closing.join()
    _log.info("stopped")


def _open_http(door: HttpDoor, *, named: bool) -> None:
    """Open the HTTP doors; where nobody named their address, another server on the default one is no reason to end.

    Raises:
        DoorError: An address that the file or the command line names cannot be listened on.
    """
    try:
        door.start()
    except DoorError as error:
        if named:
            raise DoorError(f"listen.http (or --http): {error}") from error
        _log.error("the HTTP doors and the JWKS stay closed: name an address under listen.http", error=str(error))


def _raise_file_limit() -> None:
    """Let the process open as many files as it may: each connection is one, and the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # the system does not let us: the limits at the doors hold all the same
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settle_memory() -> None:
    """Keep the garbage collector away from what stays: modules, the policy, the servers.

    Each full collection would walk all of it while requests wait. What requests leave behind is collected as ever, in
    larger portions.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS, 20, 20)


def _watch(keys: KeyDirectory | None, stopped: threading.Event) -> None:
    """Wait until the service is told to stop; look at the key directory meanwhile."""
    if keys is None:
        stopped.wait()
        return
    signing, fault = "", None
    _warn_of(keys)
    while True:
        active = keys.keys.active(time.time())
        if active is not None and active.kid != signing:
            signing = active.kid
            _log.info("stamps are signed", kid=signing, algorithm=active.algorithm)
        if stopped.wait(KEYS_LOOK_SECONDS):
            return
        if keys.refresh():
            _warn_of(keys)
        if keys.fault != fault:
            fault = keys.fault
            if fault is not None:
                _log.error("the stamp keys cannot be read again, the old ones are kept", error=fault)
            else:
                _log.info("the stamp keys can be read again")


def _warn_of(keys: KeyDirectory) -> None:
    for warning in keys.warnings():
        _log.warning("stamp keys", note=warning)


def _certificates(loaded: Loaded, tls: Tls) -> Certificates:
    return Certificates(
        loaded.path(tls.certificate),
        loaded.path(tls.private_key),
        loaded.path(tls.client_ca) if tls.client_ca is not None else None,
    )
