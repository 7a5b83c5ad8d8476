"""What a decision becomes before any door writes it: the one place where answers are built.

A door writes a `Passed` as a pass and everything else as a denial, with the decision's id in the place of `GAP`.
Every protected name is either set or removed by a pass, never neither: a client's own copy of an identity header
does not survive it.
"""

import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final

from extauthz.core import reasons
from extauthz.core.decision import Allow, Decision, Shadowed
from extauthz.core.policy import Gateway
from extauthz.core.reasons import Reason
from extauthz.core.request import Headers
from extauthz.core.text import has_control
from extauthz.wire.page import DenialPage, wants_page

# Envoy takes no header value longer than this (HeaderValue.value in envoy.config.core.v3), and none is sent anywhere.
LONGEST_VALUE_BYTES: Final = 16_384

# 80 random bits: ids do not collide within the life of a log, and tell nobody how many decisions there were.
DECISION_ID_BYTES: Final = 10

# What stands in an answer for the id of the decision, the one thing in which two answers to the same person differ.
# Random, so that no client can bring it along, and as long as an id.
GAP: Final = os.urandom(DECISION_ID_BYTES).hex()

# How many answers of each kind are kept for the next request like it.
REMEMBERED_ANSWERS: Final = 1024
# The same of those that tell of too many denials: each second until the client may ask again has its own.
REMEMBERED_LIMITED: Final = 256
# Answers that name a longer user are built anew each time: what is remembered is bounded in bytes too.
LONGEST_REMEMBERED_USER_CHARACTERS: Final = 256

# Headers that a denied client gets.
REASON_HEADER: Final = "x-authz-reason"
DECISION_HEADER: Final = "x-authz-decision"

_HIDDEN: Final = {401: "unauthorized", 403: "forbidden", 429: "too_many_requests"}


def new_decision_id() -> str:
    """Return a new random id for one decision, in hexadecimal.

    Randomness is fetched for many ids at once: a call to the system for each would also let go of the interpreter.
    """
    while True:
        try:
            return _ids.popleft()
        except IndexError:
            digits = os.urandom(DECISION_ID_BYTES * _IDS_AT_ONCE).hex()
            length = DECISION_ID_BYTES * 2
            _ids.extend(digits[start : start + length] for start in range(0, len(digits), length))


_IDS_AT_ONCE: Final = 256
_ids: Final[deque[str]] = deque()
# Two processes must not hand out the same ids.
os.register_at_fork(after_in_child=_ids.clear)


@lru_cache(maxsize=64)
def stamp_gap(length: int) -> str:
    """Return what stands in an answer for a stamp of so many characters, where each answer has its own.

    Random as GAP is, and as long as the stamp, so that every length that is written before it stays true.
    """
    return (_GAP_OF_A_STAMP * (length // len(_GAP_OF_A_STAMP) + 1))[:length]


_GAP_OF_A_STAMP: Final = os.urandom(DECISION_ID_BYTES).hex()


def with_stamp(parts: tuple[bytes, ...], stamp: str) -> tuple[bytes, ...]:
    """Return a written answer with a stamp in the place of the gap of its length.

    Raises:
        AnswerError: The stamp cannot be sent.
    """
    if not stamp or not stamp.isascii() or not stamp.isprintable():
        raise AnswerError("the stamp is empty, or no text that a header may carry")
    gap, own = stamp_gap(len(stamp)).encode(), stamp.encode()
    return tuple([part.replace(gap, own) for part in parts])


class AnswerError(Exception):
    """An answer cannot be built from this decision; the request is denied with `internal_error` instead."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passed:
    """The request goes on to the Gateway.

    Attributes:
        set_headers: Name and value; each overwrites whatever the client sent.
        remove_headers: Names that are removed; none of them is among those set.
        gateway: The gateway's id.
        user: The verified user; "" where shadow mode lets pass what it would deny.
        reason: "" for an allow; why it would be denied where shadow mode lets it pass.
        kept: It will be given again, so that what is made of it is worth remembering.
    """

    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]
    gateway: str
    user: str
    reason: str
    kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refused:
    """The request ends here.

    Attributes:
        status: 401, 403, or 429 where there were too many.
        headers: Name and value of the headers the client gets.
        body: What the client gets to read.
        gateway: The gateway's id, "" where the request reached none.
        user: The user that a trusted peer named, if it got that far; never to be taken as verified.
        reason: Why it was denied.
        kept: As in `Passed`.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    gateway: str
    user: str
    reason: str
    kept: bool = True


Answer = Passed | Refused


class AnswerBuilder:
    """Builds answers under one configuration.

    What is remembered knows nothing of the builder: one that a reload has replaced is gone at once, with all that it
    remembered, and does not wait for a collector of circles.

    Attributes:
        names: The configured header names by what they carry: user, gateway, decision, stamp.
    """

    __slots__ = (
        "__weakref__",
        "_allow",
        "_allows",
        "_denials",
        "_deny",
        "_limited",
        "_shadow",
        "names",
    )

    def __init__(self, names: Mapping[str, str], *, body: str, show_reason: bool) -> None:
        """Fix the names and what a denied client sees.

        Args:
            names: The names, folded, by key: user, gateway, decision, stamp.
            body: "json", "empty", or "html": a page for who asks for one, JSON for all others.
            show_reason: Whether clients are told the reason.
        """
        self.names: Final = dict(names)
        self._allows: Final = partial(_build_allow, self.names)
        self._denials: Final = _Denials(
            body=body, show_reason=show_reason, page=DenialPage() if body == "html" else None
        )
        # The same people come again and again: their answers are built once, checked once, and kept.
        self._allow: Final = lru_cache(REMEMBERED_ANSWERS)(self._allows)
        self._shadow: Final = lru_cache(REMEMBERED_ANSWERS)(_build_shadow)
        self._deny: Final = lru_cache(REMEMBERED_ANSWERS)(self._denials.build)
        # Apart, so that a flood of these pushes out none that people get.
        self._limited: Final = lru_cache(REMEMBERED_LIMITED)(self._denials.build_limited)

    def build(self, decision: Decision, stamp: str | None = None, headers: Headers | None = None) -> Answer:
        """Build the answer to one decision.

        Args:
            decision: The decision.
            stamp: The signed stamp of an allow, or the `stamp_gap` where each answer has its own. None if there is
                none, then the client's copy of it is removed.
            headers: The client's headers, if they could be read: Accept says whether a denial is to be a page.

        Raises:
            AnswerError: A value cannot be sent in a header.
        """
        if isinstance(decision, Allow):
            gateway, user = decision.gateway, decision.user
            if len(user) > LONGEST_REMEMBERED_USER_CHARACTERS:
                return replace(self._allows(gateway, user, stamp), kept=False)
            return self._allow(gateway, user, stamp)
        if isinstance(decision, Shadowed):
            return self._shadow(decision.gateway, decision.denial.reason)
        page = self._denials.page is not None and headers is not None and wants_page(headers.read("accept"))
        forgotten = len(decision.user) > LONGEST_REMEMBERED_USER_CHARACTERS
        if decision.limited:
            limited = (decision.reason, decision.gateway, decision.user, page, decision.retry_after)
            return replace(self._denials.build_limited(*limited), kept=False) if forgotten else self._limited(*limited)
        if forgotten:
            return replace(self._denials.build(decision.reason, decision.gateway, decision.user, page=page), kept=False)
        return self._deny(decision.reason, decision.gateway, decision.user, page=page)

    def internal_error(self) -> Answer:
        """Build the answer to what was not foreseen."""
        return self._deny(reasons.INTERNAL_ERROR, None, "", page=False)


def _build_allow(names: Mapping[str, str], gateway: Gateway, user: str, stamp: str | None) -> Passed:
    own = {gateway.user_header: user} if gateway.user_header else {}  # without one, an assertion names the user
    values = own | {names["user"]: user, names["gateway"]: gateway.id, names["decision"]: GAP}
    if stamp is not None:
        values[names["stamp"]] = stamp
    for name, value in values.items():
        if not value or len(value.encode()) > LONGEST_VALUE_BYTES or has_control(value):
            raise AnswerError(f"the value for {name} is empty, too long or holds a control character")
    return Passed(
        set_headers=tuple(values.items()),
        remove_headers=(names["stamp"],) if stamp is None else (),
        gateway=gateway.id,
        user=user,
        reason="",
    )


def _build_shadow(gateway: Gateway, reason: Reason) -> Passed:
    return Passed(
        set_headers=(),
        remove_headers=tuple(sorted(gateway.protected)),
        gateway=gateway.id,
        user="",
        reason=reason.code,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Denials:
    """What a denied client gets: by `body` and `show_reason` as `AnswerBuilder` takes them, and the page, if any."""

    body: str
    show_reason: bool
    page: DenialPage | None

    def build(self, reason: Reason, gateway: Gateway | None, user: str, *, page: bool) -> Refused:
        return self._build(reason, reason, gateway, user, page=page)

    def build_limited(
        self,
        reason: Reason,
        gateway: Gateway | None,
        user: str,
        page: bool,
        retry_after: int,
    ) -> Refused:
        """Build what tells the client of too many denials in the place of the reason."""
        told = self._build(reason, reasons.TOO_MANY_REFUSALS, gateway, user, page=page)
        return replace(told, headers=(*told.headers, ("retry-after", str(retry_after))))

    def _build(self, reason: Reason, told: Reason, gateway: Gateway | None, user: str, *, page: bool) -> Refused:
        gateway_id = gateway.id if gateway is not None else ""
        shown = told.code if self.show_reason else _HIDDEN[told.status]
        headers = [(DECISION_HEADER, GAP), ("cache-control", "no-store")]
        if self.show_reason:
            headers.append((REASON_HEADER, shown))
        if told.status == 401:
            # RFC 9110, section 11.6.1: a 401 names a scheme. There is no credential to ask for: it is the proxy's job.
            headers.append(("www-authenticate", f'TrustedProxy realm="{gateway_id}"'))
        body = ""
        if page and self.page is not None:
            headers.extend(self.page.headers)
            body = self.page.render(
                status=told.status, gateway=gateway_id, decision=GAP, reason=shown if self.show_reason else None
            )
        elif self.body != "empty":
            headers.append(("content-type", "application/json"))
            body = json.dumps({"error": shown, "gateway": gateway_id, "decision": GAP}, ensure_ascii=False)
        return Refused(
            status=told.status,
            headers=tuple(headers),
            body=body,
            gateway=gateway_id,
            user=user,
            reason=reason.code,
        )
