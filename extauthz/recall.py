"""Allows that are asked for again: what was made of the first question is kept for those that no rule tells from it.

A proxy asks about the same person again and again, and most of these questions differ in nothing that is read: a
decision is a function of the policy and of what the rules read of a request (core/decide.py), so that an equal
question has an equal answer. An allow is therefore kept under *everything* that a rule, the stamp or the log's line
reads, as it arrived and unread, and for as long as its policy is in force and no longer: each snapshot has its own.

Only allows are kept. A denial is made anew each time, and so is every decision that time may change under the same
policy: where a signed assertion names the user, an equal question may have another answer.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from extauthz.core.decision import Allow, Decision
from extauthz.core.policy import Policy
from extauthz.core.request import Headers, Request
from extauthz.wire.shape import Asked, Question, Shapes

if TYPE_CHECKING:
    from extauthz.stamp.signer import Issued

# Allows that are kept, in each of two generations. With what shapes, answers and stamps take beside each, measured:
# 4 KB, and 26 KB where names (wire/shape.py) and host are as long as they may be.
MOST_KEPT: Final = 1024
# What is longer is decided anew each time, so that what is kept is bounded in bytes too. A usual question has 1 KB.
LONGEST_QUESTION: Final = 2048  # in bytes and characters of all that is in it
LONGEST_USER_CHARACTERS: Final = 256


class AroundLine:
    """A decision log's line around what differs when its allow is recalled: time and id, path, microseconds.

    Attributes:
        maker: Who made it: another may tell the same decision otherwise.
        head: What stands between the id and the path.
        middle: What stands between the path and the microseconds.
        end: What follows.
        is_whole: There is such a line; else each is made anew.
    """

    __slots__ = ("end", "head", "is_whole", "maker", "middle")

    def __init__(self, maker: object, head: bytes = b"", middle: bytes = b"", end: bytes = b"") -> None:
        self.maker: Final = maker
        self.head: Final = head
        self.middle: Final = middle
        self.end: Final = end
        self.is_whole: Final = bool(end)


class Decided:
    """A decision, what it was made of, and what was made of it: all that is the same each time it is recalled.

    Attributes:
        door: The door it came through: grpc, or a forward-auth dialect; "http" for what named no dialect.
        version: The version of the policy that decided.
        policy: The policy that decided.
        request: What was asked first. Where the decision is kept, its headers have the values that are read, and no
            others, and its path is not that of whoever asks again.
        decision: What was decided.
        kept: It may be recalled.
        answer: The stamp that was issued, None without one, and the written answer around the places of the id.
        line: The decision log's line; None before it was written.
    """

    __slots__ = ("answer", "decision", "door", "kept", "line", "policy", "request", "version")

    def __init__(  # noqa: PLR0913, PLR0917 - by position, because a keyword costs time here
        self, door: str, version: str, policy: Policy, request: Request, decision: Decision, kept: bool = False
    ) -> None:
        self.door: Final = door
        self.version: Final = version
        self.policy: Final = policy
        self.request: Final = request
        self.decision: Final = decision
        self.kept: Final = kept
        # Assigned as one, so that no other thread sees the stamp of one and the answer of the other.
        self.answer: tuple[Issued | None, tuple[bytes, ...]] | None = None
        self.line: AroundLine | None = None


class Recall:
    """What is kept under one policy. Threads may share one: a race costs one decision more at the worst.

    Attributes:
        shapes: The shapes of the requests.
    """

    __slots__ = ("_fresh", "_older", "shapes")

    def __init__(self) -> None:
        self.shapes: Final = Shapes()
        # Two generations, so that a full one forgets its older half.
        self._fresh: dict[Question, Decided] = {}
        self._older: dict[Question, Decided] = {}

    def get(self, asked: Asked) -> Decided | None:
        """Return what was allowed on this question."""
        question = asked.question
        found = self._fresh.get(question)
        if found is None:
            found = self._older.get(question)
            if found is not None:
                self._put(question, found)
        if found is not None and asked.keys is not None:
            self.shapes.learn(asked)
        return found

    def keep(self, asked: Asked, decided: Decided) -> Decided:
        """Keep an allow, if it is worth it, and return what is kept; else what was given."""
        request, decision = decided.request, decided.decision
        headers = request.headers
        if (
            headers is None
            or not isinstance(decision, Allow)
            or len(decision.user) > LONGEST_USER_CHARACTERS
            or _length(asked.question) > LONGEST_QUESTION
        ):
            return decided
        # Of all other headers the values are let go of: whoever tells of this allow again tells nobody else's.
        values = {name: headers.read(name) or b"" for name in asked.shape.read}
        read = Headers(tuple(headers.names), values.get, exact=headers.exact, size=headers.size)
        kept = Decided(
            decided.door, decided.version, decided.policy, request._replace(headers=read), decision, kept=True
        )
        self._put(asked.question, kept)
        return kept

    def _put(self, question: Question, decided: Decided) -> None:
        if len(self._fresh) >= MOST_KEPT:
            self._older, self._fresh = self._fresh, {}
        self._fresh[question] = decided


def _length(question: Iterable[object]) -> int:
    """Return the bytes and characters of all that is in a question."""
    length = 0
    for part in question:
        if isinstance(part, (str, bytes)):
            length += len(part)
        elif type(part) is tuple:  # values, picked together; a caller is a tuple with a name
            length += _length(part)
    return length
