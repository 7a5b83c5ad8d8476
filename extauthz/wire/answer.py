"""What a decision becomes before any door writes it: the one place where answers are built.

A door writes a `Passed` as a pass and everything else as a denial. Every protected name is either set or removed
by a pass, never neither: a client's own copy of an identity header does not survive it.
"""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from extauthz.core import reasons
from extauthz.core.decision import Allow, Decision, Deny, Shadowed
from extauthz.core.text import has_control

# Envoy takes no header value longer than this (HeaderValue.value in envoy.config.core.v3), and none is sent anywhere.
LONGEST_VALUE_BYTES: Final = 16_384

# What the Gateway's own header names are called in the configuration.
REASON_HEADER: Final = "x-authz-reason"
DECISION_HEADER: Final = "x-authz-decision"

_HIDDEN: Final = {401: "unauthorized", 403: "forbidden"}


class AnswerError(Exception):
    """An answer cannot be built from this decision; the request is denied with `internal_error` instead."""


class Facts(NamedTuple):
    """What is told beside the answer: to Envoy's access log, and to whoever looks on.

    Attributes:
        decision: The decision's id.
        gateway: The gateway's id, "" where the request reached none.
        reason: Why it was denied, "" for an allow.
        user: The verified user of an allow; of a denial the user that a trusted peer named, if it got that far.
    """

    decision: str
    gateway: str
    reason: str
    user: str


class Passed(NamedTuple):
    """The request goes on to the Gateway.

    Attributes:
        set_headers: Name and value; each overwrites whatever the client sent.
        remove_headers: Names that are removed; none of them is among those set.
        facts: What is told beside it.
    """

    set_headers: tuple[tuple[str, str], ...]
    remove_headers: tuple[str, ...]
    facts: Facts


class Refused(NamedTuple):
    """The request ends here.

    Attributes:
        status: 401 or 403.
        headers: Name and value of the headers the client gets.
        body: What the client gets to read.
        facts: What is told beside it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str
    facts: Facts


Answer = Passed | Refused


class AnswerBuilder:
    """Builds answers under one configuration.

    Attributes:
        names: The configured header names by what they carry: user, gateway, decision, stamp.
    """

    __slots__ = ("_body", "_show_reason", "names")

    def __init__(self, names: Mapping[str, str], *, body: str, show_reason: bool) -> None:
        """Fix the names and what a denied client sees.

        Args:
            names: The names, folded, by key: user, gateway, decision, stamp.
            body: "json" or "empty".
            show_reason: Whether clients are told the reason.
        """
        self.names: Final = dict(names)
        self._body: Final = body
        self._show_reason: Final = show_reason

    def build(self, decision: Decision, decision_id: str, stamp: str | None = None) -> Answer:
        """Build the answer to one decision.

        Args:
            decision: The decision.
            decision_id: Its id.
            stamp: The signed stamp of an allow; None if there is none, then the client's copy of it is removed.

        Raises:
            AnswerError: A value cannot be sent in a header.
        """
        if isinstance(decision, Allow):
            return self._allow(decision, decision_id, stamp)
        if isinstance(decision, Shadowed):
            denial, gateway = decision.denial, decision.gateway
            facts = Facts(decision_id, gateway.id, denial.reason.code, denial.user)
            return Passed((), tuple(sorted(gateway.protected)), facts)
        return self._deny(decision, decision_id)

    def internal_error(self, decision_id: str) -> Refused:
        """Build the answer to what was not foreseen."""
        return self._deny(Deny(reason=reasons.INTERNAL_ERROR, step="none"), decision_id)

    def _allow(self, decision: Allow, decision_id: str, stamp: str | None) -> Passed:
        gateway, user = decision.gateway, decision.user
        names = self.names
        # The gateway's own user header comes first: a header of ours with the same name overrides nothing else.
        values = {gateway.user_header: user, names["user"]: user, names["gateway"]: gateway.id}
        values[names["decision"]] = decision_id
        if stamp is not None:
            values[names["stamp"]] = stamp
        for name, value in values.items():
            # A character has four bytes at most in UTF-8: most values need no second look.
            too_long = len(value) * 4 > LONGEST_VALUE_BYTES and len(value.encode()) > LONGEST_VALUE_BYTES
            if not value or too_long or has_control(value):
                raise AnswerError(f"the value for {name} is empty, too long or holds a control character")
        removed = (names["stamp"],) if stamp is None else ()
        return Passed(tuple(values.items()), removed, Facts(decision_id, gateway.id, "", user))

    def _deny(self, decision: Deny, decision_id: str) -> Refused:
        reason, gateway = decision.reason, decision.gateway.id if decision.gateway is not None else ""
        shown = reason.code if self._show_reason else _HIDDEN[reason.status]
        headers = [(DECISION_HEADER, decision_id), ("cache-control", "no-store")]
        if self._show_reason:
            headers.append((REASON_HEADER, shown))
        if reason.status == 401:
            # RFC 9110, section 11.6.1: a 401 names a scheme. There is no credential to ask for: it is the proxy's job.
            headers.append(("www-authenticate", f'TrustedProxy realm="{gateway}"'))
        body = ""
        if self._body != "empty":
            headers.append(("content-type", "application/json"))
            body = json.dumps({"error": shown, "gateway": gateway, "decision": decision_id}, ensure_ascii=False)
        return Refused(reason.status, tuple(headers), body, Facts(decision_id, gateway, reason.code, decision.user))
