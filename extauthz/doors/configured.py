"""The doors as a configuration asks for them. What they serve is given; none listens before it is opened."""

from collections.abc import Callable
from typing import Final

from extauthz.authorizer import Authorizer
from extauthz.config.schema import Settings
from extauthz.config.values import Endpoint
from extauthz.doors.admin import AdminDoor, AdminDoorSettings, Pages, Render
from extauthz.doors.certificates import Certificates
from extauthz.doors.endpoints import DoorError
from extauthz.doors.grpc_shared import GrpcDoorSettings, GrpcServer
from extauthz.doors.http import HttpDoor, HttpDoorSettings
from extauthz.doors.token_file import TokenFile
from extauthz.logs import get_logger
from extauthz.stamp.jwks import Jwks

_log: Final = get_logger(__name__)

# For what is under way at the admin address at the end: nothing there is worth more.
ADMIN_DRAIN_SECONDS: Final = 1


def grpc_door(
    settings: Settings, authorizer: Authorizer, certificates: Certificates | None, *, traced: bool
) -> GrpcServer:
    """Make the gRPC door, on the engine that the configuration names.

    Args:
        settings: The configuration.
        authorizer: What answers.
        certificates: The server's own; None without TLS.
        traced: The authorizer is told of each call's trace.
    """
    door = GrpcDoorSettings(
        endpoints=tuple(map(Endpoint.parse, settings.listen.grpc)),
        certificates=certificates,
        # Whether they are asked for may change while the service runs; that they are shown may not.
        read_principals=settings.tls is not None and settings.tls.client_ca is not None,
        most_calls=settings.server.max_concurrent,
        most_message_bytes=settings.limits.message_bytes,
    )
    check = authorizer.check
    if settings.server.engine == "native":
        from extauthz.doors.envoy_native import NativeDoor  # noqa: PLC0415 - of two engines one is loaded

        return NativeDoor(check, door, traced=traced)
    from extauthz.doors.envoy_grpc import GrpcDoor  # noqa: PLC0415

    return GrpcDoor(check, authorizer.admits, door, traced=check if traced else None)


def http_door(settings: Settings, authorizer: Authorizer, jwks: Callable[[], Jwks | None]) -> HttpDoor:
    """Make the forward-auth doors, which serve the public keys too.

    Args:
        settings: The configuration.
        authorizer: What answers.
        jwks: Returns the public keys of the moment; None while nothing is signed.
    """
    return HttpDoor(
        authorizer,
        HttpDoorSettings(
            endpoints=tuple(map(Endpoint.parse, settings.listen.http)),
            most_connections=settings.server.max_concurrent,
            most_headers=settings.limits.headers,
            most_head_bytes=settings.limits.message_bytes,
            drain_seconds=settings.server.drain_seconds,
            jwks=jwks,
            loop=settings.server.http_loop,
        ),
    )


def admin_door(
    settings: Settings, pages: Pages, token: TokenFile | None, ready: Callable[[], bool], metrics: Render
) -> AdminDoor:
    """Make the admin door.

    Args:
        settings: The configuration.
        pages: The console.
        token: What must be brought; None asks for none.
        ready: Tells whether the service serves.
        metrics: Returns the metrics.
    """
    return AdminDoor(
        pages,
        AdminDoorSettings(
            endpoints=tuple(map(Endpoint.parse, settings.listen.admin)),
            hosts=settings.admin.hosts,
            token=token,
            drain_seconds=ADMIN_DRAIN_SECONDS,
            ready=ready,
            metrics=metrics,
        ),
    )


def open_unless_default(door: HttpDoor | AdminDoor, name: str, settings: Settings) -> None:
    """Open a door; where nobody named its address, another server on the default one is no reason to end.

    Args:
        door: The door.
        name: Its name under `listen`.
        settings: The configuration.

    Raises:
        DoorError: An address that the file or the command line names cannot be listened on.
    """
    try:
        door.start()
    except DoorError as error:
        if name in settings.listen.model_fields_set:
            raise DoorError(f"listen.{name} (or --{name}): {error}") from error
        _log.error(f"this door stays closed: name an address under listen.{name}", door=name, error=str(error))
