"""Allows that are asked for again: what was made of the first question is kept for those that no rule tells from it.

A proxy asks about the same person again and again, and most of these questions differ in nothing that is read: a
decision is a function of the policy and of what the rules read of a request (core/decide.py), so that an equal
question has an equal answer. An allow is therefore kept under *everything* that a rule, the stamp or the log's line
reads, as it arrived and unread, and for as long as its policy is in force and no longer: each snapshot has its own.

Only allows are kept. A denial is made anew each time, and so is every decision that time may change under the same
policy: where a signed assertion names the user, an equal question may have another answer.
"""

from typing import TYPE_CHECKING, Final

from extauthz.core.decision import Allow
from extauthz.core.request import Headers, Request
from extauthz.wire.shape import Asked, Question, Shapes

if TYPE_CHECKING:
    from extauthz.stamp.signer import Issued

# Allows that are kept, in each of two generations: 3 KB each, and as much in the caches of answers and stamps.
MOST_KEPT: Final = 1024
# What is longer is decided anew each time, so that what is kept is bounded in bytes too. A usual question has 1 KB.
LONGEST_QUESTION: Final = 2048  # in bytes and characters of all that is in it
LONGEST_USER_CHARACTERS: Final = 256


class Told:
    """What is told of an allow each time it is given again: made once, by whoever tells it, and kept with it.

    Attributes:
        line: Who made the decision log's line, and what it made: another maker may tell it otherwise.
    """

    __slots__ = ("line",)

    def __init__(self) -> None:
        self.line: tuple[object, tuple[str, str, str] | None] = (None, None)


class Recalled:
    """An allow that was made, and what was made of it.

    Attributes:
        decision: The allow.
        request: The question it was made of; its headers have the values that are read, and no others.
        told: What is told of it.
        answer: The stamp that was issued, None without one, and the written answer around the places of the id.
    """

    __slots__ = ("answer", "decision", "request", "told")

    def __init__(self, decision: Allow, request: Request) -> None:
        self.decision: Final = decision
        self.request: Final = request
        self.told: Final = Told()
        # Assigned as one, so that no other thread sees the stamp of one and the answer of the other.
        self.answer: tuple[Issued | None, tuple[bytes, ...]] | None = None

    def asked_for(self, path: str) -> Request:
        """Return the question, for another path."""
        caller, gateway, source, method, host, _, headers, fault, principal = self.request
        return Request(caller, gateway, source, method, host, path, headers, fault, principal)


class Recall:
    """What is kept under one policy. Threads may share one: a race costs one decision more at the worst.

    Attributes:
        shapes: The shapes of the requests.
    """

    __slots__ = ("_fresh", "_older", "shapes")

    def __init__(self) -> None:
        self.shapes: Final = Shapes()
        # Two generations, so that a full one forgets its older half.
        self._fresh: dict[Question, Recalled] = {}
        self._older: dict[Question, Recalled] = {}

    def get(self, asked: Asked) -> Recalled | None:
        """Return what was allowed on this question."""
        question = asked.question
        found = self._fresh.get(question)
        if found is None:
            found = self._older.get(question)
            if found is not None:
                self._put(question, found)
        return found

    def keep(self, asked: Asked | None, decision: Allow, request: Request) -> Recalled:
        """Keep what was allowed, if it may be recalled and is worth it, and return it either way."""
        headers = request.headers
        if (
            asked is None
            or headers is None
            or len(decision.user) > LONGEST_USER_CHARACTERS
            or sum(len(part) for part in asked.question if isinstance(part, (str, bytes))) > LONGEST_QUESTION
        ):
            return Recalled(decision, request)
        # Of all other headers the values are let go of: whoever tells of this allow again tells nobody else's.
        values = {name: headers.read(name) or b"" for name in asked.shape.read}
        read = Headers(tuple(headers.names), values.get, exact=headers.exact, size=headers.size)
        recalled = Recalled(decision, request._replace(headers=read))
        self._put(asked.question, recalled)
        return recalled

    def _put(self, question: Question, recalled: Recalled) -> None:
        if len(self._fresh) >= MOST_KEPT:
            self._older, self._fresh = self._fresh, {}
        self._fresh[question] = recalled
