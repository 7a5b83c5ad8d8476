"""The service put together: configuration, snapshot, doors; started, waited for, drained."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

import structlog

from extauthz import __version__
from extauthz.authorizer import Authorizer, Snapshot
from extauthz.config.compile import compile_policy
from extauthz.config.faults import Fault
from extauthz.config.load import Loaded
from extauthz.config.schema import Tls
from extauthz.config.values import Endpoint
from extauthz.core.text import fold, trim
from extauthz.doors.certificates import CertificateError, Certificates
from extauthz.doors.envoy_grpc import GrpcDoor, GrpcDoorSettings
from extauthz.wire.answer import AnswerBuilder

_log: Final = structlog.get_logger()


class ServiceError(Exception):
    """The service cannot be started; the text says why and what to do."""


def make_snapshot(loaded: Loaded) -> Snapshot:
    """Make what is in force from a checked configuration."""
    settings = loaded.settings
    names = {
        "user": settings.headers.user,
        "gateway": settings.headers.gateway,
        "decision": settings.headers.decision,
        "stamp": settings.headers.stamp,
    }
    answers = AnswerBuilder(
        {key: fold(trim(name)) for key, name in names.items()},
        body="empty" if settings.denial.body == "empty" else "json",
        show_reason=settings.denial.reason,
    )
    return Snapshot(policy=compile_policy(loaded), answers=answers)


def file_faults(loaded: Loaded) -> Iterator[Fault]:
    """Yield what is wrong with the files that the configuration names."""
    if loaded.settings.tls is not None:
        try:
            _certificates(loaded, loaded.settings.tls)
        except CertificateError as error:
            yield Fault("tls", str(error))


def serve(loaded: Loaded) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Raises:
        ServiceError: A file of the configuration cannot be used.
        DoorError: A door cannot be opened.
    """
    settings = loaded.settings
    for fault in loaded.notices:
        _log.warning("asked for, and not built yet", path=fault.path, note=fault.message)
    for fault in loaded.incomplete:
        _log.error("a gateway is incomplete", path=fault.path, note=fault.message)
    stopped = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        _log.info("stopping", signal=signal.Signals(number).name, drain_seconds=settings.server.drain_seconds)
        stopped.set()

    try:
        certificates = _certificates(loaded, settings.tls) if settings.tls is not None else None
    except CertificateError as error:
        raise ServiceError(f"tls: {error}") from error
    narrower = (gateway.callers.principals for gateway in settings.gateways.values() if gateway.callers is not None)
    door = GrpcDoor(
        Authorizer(make_snapshot(loaded)).check,
        GrpcDoorSettings(
            endpoints=tuple(map(Endpoint.parse, settings.listen.grpc)),
            certificates=certificates,
            read_principals=bool(settings.callers.principals) or any(narrower),
            most_calls=settings.server.max_concurrent,
            most_message_bytes=settings.limits.message_bytes,
        ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    door.start()
    _log.info(
        "serving",
        version=__version__,
        grpc=[str(endpoint) for endpoint in door.endpoints],
        gateways=len(settings.gateways),
        tls=certificates is not None,
    )
    stopped.wait()
    door.drain(settings.server.drain_seconds)
    _log.info("stopped")


def _certificates(loaded: Loaded, tls: Tls) -> Certificates:
    return Certificates(
        loaded.path(tls.certificate),
        loaded.path(tls.private_key),
        loaded.path(tls.client_ca) if tls.client_ca is not None else None,
    )
