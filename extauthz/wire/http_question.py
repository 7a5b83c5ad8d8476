"""What tells one question to a forward-auth door from another before anything of it is read (wire/shape.py)."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

from extauthz.core.policy import Policy
from extauthz.core.request import Caller
from extauthz.wire.forward_auth import Dialect, HttpMessage, door_of
from extauthz.wire.shape import LONGEST_MESSAGE_BYTES, LONGEST_PATH_CHARACTERS, Asked, Shape, Shapes


def question(message: HttpMessage, caller: Caller, policy: Policy, shapes: Shapes) -> Asked | None:
    """Return what tells this request from others before anything of it is read; None if it is to be read anew.

    Args:
        message: What came.
        caller: Who asks.
        policy: The policy in force, which says what is read.
        shapes: What was seen under it.
    """
    asking, target, names, values, size, _ = message
    door = door_of(target)
    # In a request no longer than a header may be, no header is too long.
    if door is None or size > LONGEST_MESSAGE_BYTES or size > policy.longest_header_bytes:
        return None
    dialect, gateway_id, rest = door
    gateway = policy.select(gateway_id, "")
    if gateway is None:
        return None
    shape = shapes.of(gateway, (dialect.key, b"\n".join(names)), _read_names)
    if shape is None or len(shape.names) != len(values):  # no server lets a name have an end of line
        return None
    pick = shape.pick
    if pick is None:
        pick = shape.pick = _pick(dialect, shape)
    values = [*values, b""]  # stands for what did not come
    try:
        path = (rest if dialect.uri is None else values[pick.uri]).decode()
    except UnicodeDecodeError:
        return None
    if len(path) > LONGEST_PATH_CHARACTERS:
        return None
    return Asked((shape, caller, asking if dialect.method is None else "", pick.told(values)), shape, path)


def _read_names(joined: tuple[bytes, bytes]) -> tuple[str, ...] | None:
    """Return the names of `question`'s key, folded; None if one is none."""
    _, names = joined
    return tuple(names.decode().lower().split("\n")) if names.isascii() else None


class _Pick(NamedTuple):
    """Where the values stand that tell one request of a shape from another.

    Attributes:
        told: Takes all that the rules, the stamp or the log read, but for the path.
        uri: Where the path is.
    """

    told: Callable[[Sequence[bytes]], tuple[bytes, ...]]
    uri: int


def _pick(dialect: Dialect, shape: Shape) -> _Pick:
    places = {name: place for place, name in enumerate(shape.names)}
    said = [places.get(name, -1) for name in (dialect.method, dialect.host, dialect.peer) if name is not None]
    return _Pick(itemgetter(*dict.fromkeys((*said, *shape.at))), places.get(dialect.uri or "", -1))
