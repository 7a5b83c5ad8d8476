"""From a record to what is told of it: the decision log's line. Nothing is written here, and nothing is weighed again.

The values are the client's. What may be a secret is left out here, where the line is made, and nowhere later: of
headers only the names are told, of the values only those that the rules weigh; a path loses its query, and every part
of it that carries what a query carries.
"""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Literal, NotRequired, TypedDict

from extauthz.core import reasons
from extauthz.core.admission import READABLE
from extauthz.core.decision import Allow, Deny, Shadowed
from extauthz.core.explain import explain
from extauthz.core.policy import Gateway, Policy
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS
from extauthz.core.request import Headers, Request
from extauthz.core.text import fold, is_blank, trim
from extauthz.recall import AroundLine, Decided
from extauthz.telemetry.gateway_lines import LONGEST_VALUE_BYTES, REDACTED, GatewayLines, Memory, Names, Value
from extauthz.telemetry.json_text import is_harmless, json_line, quote
from extauthz.telemetry.paths import cut, host_without_user_information, shown_path
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Result
from extauthz.wire.forward_auth import DIALECTS

if TYPE_CHECKING:
    from extauthz.core.address import Address

# What is longer is cut.
LONGEST_HOST_CHARACTERS: Final = 260
LONGEST_METHOD_CHARACTERS: Final = 32
LONGEST_NAMED_CHARACTERS: Final = 64
LONGEST_FAULT_CHARACTERS: Final = 256

# The paths that are remembered, as they are told.
REMEMBERED_PATHS: Final = 1024
LONGEST_REMEMBERED_PATH_CHARACTERS: Final = 256


class DecisionLine(TypedDict):
    """One decision, as the decision log has it; docs/decision-log.md says what each key means."""

    time: str
    id: str
    gateway: str | None
    door: str | None
    caller: str
    peer: str | None
    client: str | None
    user: str | None
    method: str
    host: str
    path: str
    result: Result
    reason: str | None
    step: str | None
    policy: str
    shadow: bool
    microseconds: int
    headers: dict[str, Value]
    repeated: NotRequired[list[str]]
    exact: NotRequired[Literal[False]]
    more: NotRequired[int]
    named: NotRequired[str]
    principal: NotRequired[str]
    matched: NotRequired[str | None]
    fault: NotRequired[str]
    limited: NotRequired[Literal[True]]
    withheld: NotRequired[int]
    hint: NotRequired[str]


def line(record: Record, redact: Collection[str]) -> DecisionLine:
    """Return what is told of one decision.

    Args:
        record: The decision.
        redact: Headers whose values never appear, by name in any case.
    """
    return LineMaker(redact).line(record)


def encode(told: DecisionLine) -> bytes:
    """Write a line as JSON, with the newline that ends it: valid UTF-8, and nothing in it steers a terminal."""
    return json_line(told)


class LineMaker:
    """Makes lines, and remembers between them what is the same in many. For one thread.

    Attributes:
        redact: Headers whose values never appear, folded.
    """

    def __init__(self, redact: Collection[str]) -> None:
        self.redact: Final = frozenset(fold(trim(name)) for name in redact)
        self._policy: Policy | None = None
        self._memory = Memory()
        self._gateways: dict[str, GatewayLines] = {}
        # The paths of allows, as they are told.
        self._paths: Final[dict[str, bytes]] = {}
        # The second that was told last, and how a line of it begins.
        self._second = _NO_SECOND
        self._begin = b""

    def line(self, record: Record) -> DecisionLine:
        """Return what is told of one decision."""
        request, decision = record.request, record.decided.decision
        gateway = decision.gateway
        denial: Deny | None = None
        if isinstance(decision, Allow):
            result: Result = "allow"
            peer: Address | None = decision.peer
            user = decision.user
        else:
            result, denial = ("shadow", decision.denial) if isinstance(decision, Shadowed) else ("deny", decision)
            peer, user = denial.peer, denial.user
        known = self._gateway(record.decided.policy, gateway)
        made: DecisionLine = {
            "time": _time(record.time_ns),
            "id": record.id,
            "gateway": gateway.id if gateway is not None else None,
            "door": record.decided.door if record.decided.door in _DOORS else None,
            "caller": str(request.caller),
            "peer": str(peer) if peer is not None else None,
            "client": known.client(peer, request.headers, request.principal),
            "user": self._user(gateway, user),
            "method": cut(request.method, LONGEST_METHOD_CHARACTERS),
            "host": self._host(request.host),
            "path": shown_path(request.path),
            "result": result,
            "reason": denial.reason.code if denial is not None else None,
            "step": denial.step if denial is not None and denial.step != _NO_STEP else None,
            "policy": record.decided.version,
            "shadow": gateway is not None and gateway.shadow,
            "microseconds": record.door_ns // 1000,
            "headers": {},
        }
        if request.headers is not None:
            self._tell_headers(made, known.names(request.headers), request.headers)
        if gateway is None and request.gateway is not None:
            made["named"] = cut(request.gateway, LONGEST_NAMED_CHARACTERS)
        if known.principals is not None:
            made["principal"] = cut(request.principal, LONGEST_PRINCIPAL_CHARACTERS)
            made["matched"] = known.principals.match(request.principal)
        if denial is not None and denial.reason is reasons.REQUEST_MALFORMED:
            made["fault"] = cut(_fault(record.decided.policy, request, denial), LONGEST_FAULT_CHARACTERS)
        if denial is not None and denial.limited:
            made["limited"] = True
        return made

    def written(self, record: Record) -> bytes:
        """Return `encode(self.line(record))`; for an allow in a fraction of the time, from what is the same in many."""
        around = self._around(record.decided)
        path = self._path(record.path) if around.is_whole else None
        if path is None:
            return encode(self.line(record))
        second = record.time_ns // _SECOND_NS
        if second != self._second:
            self._second, self._begin = second, f'{{"time":"{_second(second)}.'.encode()
        # Digits from a table, and nothing but %b: compiled, that copies the parts into the line and calls nothing else.
        since = record.time_ns // 1000 % 1_000_000
        taken = record.door_ns // 1000
        return b'%b%b%bZ","id":"%b%b%b%b%b%b' % (
            self._begin,
            _DIGITS[since // 1000],
            _DIGITS[since % 1000],
            record.id.encode(),
            around.head,
            path,
            around.middle,
            _NUMBERS[taken] if 0 <= taken < 1000 else b"%d" % taken,
            around.end,
        )

    def _path(self, path: str) -> bytes | None:
        """Return the part of a path that is told, as JSON; None if that is not harmless."""
        if len(path) > LONGEST_REMEMBERED_PATH_CHARACTERS:
            return _quoted_path(path)
        remembered = self._paths
        found = remembered.get(path)
        if found is None and (found := _quoted_path(path)) is not None:
            if len(remembered) >= REMEMBERED_PATHS:
                remembered.clear()
            remembered[path] = found
        return found

    def _around(self, decided: Decided) -> AroundLine:
        """Return an allow's line around what differs when it is asked again: time and id, path, microseconds."""
        around = decided.line
        if around is None or around.maker is not self:
            around = self._make_around(decided)
            if decided.kept:
                decided.line = around
        return around

    def _make_around(self, decided: Decided) -> AroundLine:
        request, decision = decided.request, decided.decision
        headers = request.headers
        if not isinstance(decision, Allow) or headers is None or headers.repeated:
            return AroundLine(self)
        gateway = decision.gateway
        known = self._gateway(decided.policy, gateway)
        names = known.names(headers)
        client = known.client(decision.peer, headers, request.principal)
        proof = known.proof(request.principal) if known.principals is not None else ""
        user = self._user(gateway, decision.user)
        told = names.parts[0]
        for position, name in enumerate(names.gaps, 1):
            value = self._weighed(name, headers.read(name) or b"")
            told += ("true" if value is True else quote(value)) + names.parts[position]
        head = (
            f'","gateway":"{gateway.id}",'
            f'"door":{quote(decided.door) if decided.door in _DOORS else "null"},'
            f'"caller":{quote(str(request.caller))},'
            f'"peer":{quote(str(decision.peer))},"client":{quote(client) if client is not None else "null"},'
            f'"user":{quote(user) if user is not None else "null"},'
            f'"method":{quote(cut(request.method, LONGEST_METHOD_CHARACTERS))},'
            f'"host":{quote(self._host(request.host))},"path":'
        )
        middle = (
            f',"result":"allow","reason":null,"step":null,"policy":{quote(decided.version)},'
            f'"shadow":{"true" if gateway.shadow else "false"},"microseconds":'
        )
        end = (
            f',"headers":{{{told}}}{"" if headers.exact else _NOT_EXACT}'
            f"{f',{_MORE}{names.more}' if names.more else ''}{proof}}}"
        )
        if not is_harmless(f"{head}{middle}{end}"):
            return AroundLine(self)
        return AroundLine(self, head.encode(), middle.encode(), f"{end}\n".encode())

    def _gateway(self, policy: Policy, gateway: Gateway | None) -> GatewayLines:
        if policy is not self._policy:
            self._policy, self._memory, self._gateways = policy, Memory(), {}
        key = gateway.id if gateway is not None else ""
        found = self._gateways.get(key)
        if found is None:
            found = self._gateways[key] = GatewayLines(gateway, self.redact, self._memory)
        return found

    def _tell_headers(self, made: DecisionLine, names: Names, headers: Headers) -> None:
        made["headers"] = told = names.told.copy()
        read = headers.read
        for name in names.weighed:
            told[name] = self._weighed(name, read(name) or b"")
        for name in names.required:
            if _blank(read(name) or b""):
                told[name] = ""
        if headers.repeated:
            repeated = [name for name in headers.repeated if name in told]
            if repeated:
                made["repeated"] = sorted(repeated)
        if not headers.exact:
            made["exact"] = False
        if names.more:
            made["more"] = names.more

    def _weighed(self, name: str, value: bytes) -> Value:
        """Return a value that the rules weigh; True where it is too long, or no text."""
        if name in self.redact:
            return REDACTED if not _blank(value) else ""
        if len(value) > LONGEST_VALUE_BYTES:
            return "" if _blank(value) else True
        try:
            return value.decode()
        except UnicodeDecodeError:
            return True

    def _user(self, gateway: Gateway | None, user: str) -> str | None:
        if not user:
            return None
        if gateway is None or gateway.user_header in self.redact:
            return REDACTED
        # A part of a name could be another's name: what is too long to be told is not told.
        return user if len(user) <= LONGEST_VALUE_BYTES else None

    def _host(self, host: str) -> str:
        if "host" in self.redact:
            return REDACTED if host else ""
        return cut(host_without_user_information(host), LONGEST_HOST_CHARACTERS)


_NO_STEP: Final = "none"
_NOT_EXACT: Final = ',"exact":false'
_MORE: Final = '"more":'
_DOORS: Final = frozenset({"grpc", *DIALECTS})


# Numbers of three digits, and as they are written.
_DIGITS: Final = tuple(b"%03d" % number for number in range(1000))
_NUMBERS: Final = tuple(b"%d" % number for number in range(100)) + _DIGITS[100:]


def _quoted_path(path: str) -> bytes | None:
    quoted = quote(shown_path(path))
    return quoted.encode() if is_harmless(quoted) else None


def _time(time_ns: int) -> str:
    """Return a moment in UTC, in the form of RFC 3339 with microseconds."""
    second, left = divmod(time_ns, _SECOND_NS)
    return f"{_second(second)}.{left // 1000:06d}Z"


def _second(since: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))


_SECOND_NS: Final = 1_000_000_000
# No clock says this one.
_NO_SECOND: Final = -(1 << 62)


def _blank(value: bytes) -> bool:
    """Tell whether a value is blank to the rules; bytes that are no text are not."""
    if not value:
        return True
    if 0x30 <= value[0] < 0x7F:  # a digit, a letter: nearly every value begins with one
        return False
    try:
        return is_blank(value.decode())
    except UnicodeDecodeError:
        return False


def _fault(policy: Policy, request: Request, denial: Deny) -> str:
    """Tell why a request could not be read; names at most, no values."""
    if request.fault:
        return request.fault
    if denial.step == READABLE.name:
        return explain(policy, request).outcomes[-1].detail
    return "no header should carry this user: it has a control character, or is too long"
