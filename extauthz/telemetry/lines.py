"""From a record to what is told of it: the decision log's line. Nothing is written here, and nothing is weighed again.

The values are the client's. What may be a secret is left out here, where the line is made, and nowhere later: of
headers only the names are told, of the values only those that the rules weigh; a path loses its query, and every part
of it that carries what a query carries.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Final, Literal, NamedTuple, NotRequired, TypedDict

from extauthz.core import reasons
from extauthz.core.address import Address, AddressSet
from extauthz.core.admission import READABLE
from extauthz.core.attribution import client_behind
from extauthz.core.decision import Allow, Deny, Shadowed
from extauthz.core.explain import explain
from extauthz.core.policy import Gateway, Policy
from extauthz.core.principals import LONGEST_PRINCIPAL_CHARACTERS
from extauthz.core.request import Headers, Request
from extauthz.core.steps import FORWARDED_FOR, REAL_IP, WEIGHED
from extauthz.core.text import fold, is_blank, trim
from extauthz.recall import AroundLine, Decided
from extauthz.telemetry.paths import cut, host_without_user_information, shown_path
from extauthz.telemetry.record import Record
from extauthz.telemetry.tally import Result
from extauthz.wire.forward_auth import DIALECTS

# Header names in one line, and their characters together; how many more there were is told.
MOST_NAMES: Final = 128
MOST_NAME_CHARACTERS: Final = 4096
# A value that is longer is told as being there. An address of e-mail has 254 characters, a chain of ten hops 400.
LONGEST_VALUE_BYTES: Final = 1024
# What is longer is cut.
LONGEST_HOST_CHARACTERS: Final = 260
LONGEST_METHOD_CHARACTERS: Final = 32
LONGEST_NAMED_CHARACTERS: Final = 64
LONGEST_FAULT_CHARACTERS: Final = 256

# The sets of header names that are remembered: browsers and programs send few different ones.
REMEMBERED_NAME_SETS: Final = 512
# The clients that are remembered, by what named them: 2 KB each at most.
REMEMBERED_CLIENTS: Final = 2048

# The paths that are remembered, as they are told.
REMEMBERED_PATHS: Final = 1024
LONGEST_REMEMBERED_PATH_CHARACTERS: Final = 256

REDACTED: Final = "[redacted]"


Value = str | Literal[True]


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
    """Write a line as JSON, with the newline that ends it: valid UTF-8, and nothing in it steers a terminal.

    What can be printed stays as it is; in a line with anything else, whatever is no ASCII is escaped.
    """
    text = _write(told)
    if not _is_harmless(text):
        # A lone surrogate is no text that every reader takes: it is replaced before it is written.
        text = _write_ascii(json.loads(text.encode(errors="replace")))
    return text.encode() + b"\n"


def _quoted_path(path: str) -> bytes | None:
    """Return the part of a path that is told, as JSON; None if that is not harmless."""
    return _remembered_path(path) if len(path) <= LONGEST_REMEMBERED_PATH_CHARACTERS else _quote_path(path)


def _quote_path(path: str) -> bytes | None:
    quoted = _quote(shown_path(path))
    return quoted.encode() if _is_harmless(quoted) else None


_remembered_path: Final = lru_cache(REMEMBERED_PATHS)(_quote_path)


def _is_harmless(text: str) -> bool:
    return (text.isascii() and "\x7f" not in text) or text.isprintable()


_quote: Final[Callable[[str], str]] = json.encoder.encode_basestring  # what the encoder below does with a text
_write: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_write_ascii: Final = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":")).encode


class _Names(NamedTuple):
    """What a set of header names comes to in a line of one gateway.

    Attributes:
        told: Each name that is told, as being there.
        weighed: Those of them whose value the rules weigh.
        required: Those that are required, and not weighed.
        more: Names that are not told.
        gaps: Those that are weighed, in the order in which they are told.
        parts: `told` as JSON, cut where the value of each of these stands.
    """

    told: dict[str, Value]
    weighed: tuple[str, ...]
    required: tuple[str, ...]
    more: int
    gaps: tuple[str, ...]
    parts: tuple[str, ...]


class _Memory:
    """What many lines of one policy have in common; shared by all gateways, so that there is one bound for all."""

    def __init__(self) -> None:
        self.names: Final[dict[tuple[str, str], _Names]] = {}
        self.clients: Final[dict[tuple[str, Address, str | None, str | None, bool], str | None]] = {}


class _Gateway:
    """What is the same for all lines of one gateway; None stands for no gateway."""

    def __init__(self, gateway: Gateway | None, redact: frozenset[str], memory: _Memory) -> None:
        own = (gateway.user_header,) if gateway is not None and gateway.user_header else ()
        # A token is told as being there, whatever else its header may be, and whatever `redact` says.
        token = gateway.assertion.header if gateway is not None and gateway.assertion is not None else ""
        self._weighed: Final = dict.fromkeys(name for name in (*own, *WEIGHED) if name != token)
        required = gateway.required_headers if gateway is not None else ()
        self._required: Final = dict.fromkeys(one.name for one in required if one.name not in self._weighed)
        self._id: Final = gateway.id if gateway is not None else ""
        self._trusted: Final = gateway.trusted_proxies if gateway is not None else AddressSet()
        self.principals: Final = gateway.trusted_principals if gateway is not None else None
        # Whom a gateway trusts by address alone is looked up once for many lines.
        self._trusts: Final = gateway.trusts if gateway is not None and self.principals is not None else None
        self._real_ip: Final = gateway is not None and gateway.allow_real_ip_fallback
        # Which of the two named the client is not asked: redacting one hides both.
        self._hidden: Final = FORWARDED_FOR in redact or (self._real_ip and REAL_IP in redact)
        self._memory: Final = memory

    def client(self, peer: Address | None, headers: Headers | None, principal: str) -> str | None:
        """Return the address of the client behind a peer, where it is known."""
        if peer is None:
            return None
        chain = _end_of(headers, FORWARDED_FOR) if headers is not None else None
        real = _end_of(headers, REAL_IP) if headers is not None and self._real_ip else None
        remembered = self._memory.clients
        proved = self._trusts is not None and self._trusts(peer, principal)
        key = (self._id, peer, chain, real, proved)
        if key in remembered:
            return remembered[key]
        trusted = proved if self._trusts is not None else peer in self._trusted
        found = client_behind(peer, self._trusted, forwarded_for=chain, real_ip=real) if trusted else peer
        told = None if found is None else REDACTED if self._hidden and trusted else str(found)
        if len(remembered) >= REMEMBERED_CLIENTS:
            remembered.clear()
        remembered[key] = told
        return told

    def proof(self, principal: str) -> str:
        """Return what the line says of a principal, as JSON."""
        entry = self.principals.match(principal) if self.principals is not None else None
        shown = _quote(cut(principal, LONGEST_PRINCIPAL_CHARACTERS))
        return f',"principal":{shown},"matched":{_quote(entry) if entry is not None else "null"}'

    def names(self, headers: Headers) -> _Names:
        """Sort the names of a request's headers."""
        remembered = self._memory.names
        key = (self._id, headers.together)
        found = remembered.get(key)
        if found is None:
            found = self._sort(headers.names)
            if len(headers.together) <= MOST_NAME_CHARACTERS:
                if len(remembered) >= REMEMBERED_NAME_SETS:
                    remembered.clear()
                remembered[key] = found
        return found

    def _sort(self, names: Collection[str]) -> _Names:
        left = MOST_NAME_CHARACTERS
        told: dict[str, Value] = {}
        for name in names if len(names) <= MOST_NAMES else self._first(names):
            left -= len(name)
            if left < 0 or len(told) == MOST_NAMES:
                break
            told[name] = True
        weighed = tuple(name for name in self._weighed if name in told)
        required = tuple(name for name in self._required if name in told)
        parts, gaps = [""], []
        for position, name in enumerate(told):
            parts[-1] += f"{',' if position else ''}{_quote(name)}:"
            if name in self._weighed:
                gaps.append(name)
                parts.append("")
            else:
                parts[-1] += "true"
        return _Names(told, weighed, required, len(names) - len(told), tuple(gaps), tuple(parts))

    def _first(self, names: Collection[str]) -> Iterable[str]:
        """Return names with those first that matter: the others do not crowd them out."""
        matter = [name for name in (*self._weighed, *self._required) if name in names]
        return dict.fromkeys((*matter, *names))


class LineMaker:
    """Makes lines, and remembers between them what is the same in many. For one thread.

    Attributes:
        redact: Headers whose values never appear, folded.
    """

    def __init__(self, redact: Collection[str]) -> None:
        self.redact: Final = frozenset(fold(trim(name)) for name in redact)
        self._policy: Policy | None = None
        self._memory = _Memory()
        self._gateways: dict[str, _Gateway] = {}
        # The second that was told last, and how.
        self._second: tuple[int, bytes] = (-1, b"")

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
        around = self._around(record)
        path = _quoted_path(record.path) if around is not None else None
        if around is None or path is None:
            return encode(self.line(record))
        head, middle, end = around
        second = record.time_ns // _SECOND_NS
        known, told = self._second
        if second != known:
            told = _second(second).encode()
            self._second = (second, told)
        return b'{"time":"%b.%06dZ","id":"%b"%b%b%b%d%b' % (
            told,
            record.time_ns % _SECOND_NS // 1000,
            record.id.encode(),
            head,
            path,
            middle,
            record.door_ns // 1000,
            end,
        )

    def _around(self, record: Record) -> AroundLine | None:
        """Return an allow's line around what differs when it is asked again: time and id, path, microseconds.

        None where there is no such line: it is no allow, or not harmless.
        """
        decided = record.decided
        if not decided.kept:
            return self._make_around(decided)
        maker, around = decided.line
        if maker is not self:
            around = self._make_around(decided)
            decided.line = (self, around)
        return around

    def _make_around(self, decided: Decided) -> AroundLine | None:
        request, decision = decided.request, decided.decision
        headers = request.headers
        if not isinstance(decision, Allow) or headers is None or headers.repeated:
            return None
        gateway = decision.gateway
        known = self._gateway(decided.policy, gateway)
        names = known.names(headers)
        client = known.client(decision.peer, headers, request.principal)
        proof = known.proof(request.principal) if known.principals is not None else ""
        user = self._user(gateway, decision.user)
        told = names.parts[0]
        for position, name in enumerate(names.gaps, 1):
            value = self._weighed(name, headers.read(name) or b"")
            told += ("true" if value is True else _quote(value)) + names.parts[position]
        head = (
            f',"gateway":"{gateway.id}",'
            f'"door":{_quote(decided.door) if decided.door in _DOORS else "null"},'
            f'"caller":{_quote(str(request.caller))},'
            f'"peer":{_quote(str(decision.peer))},"client":{_quote(client) if client is not None else "null"},'
            f'"user":{_quote(user) if user is not None else "null"},'
            f'"method":{_quote(cut(request.method, LONGEST_METHOD_CHARACTERS))},'
            f'"host":{_quote(self._host(request.host))},"path":'
        )
        middle = (
            f',"result":"allow","reason":null,"step":null,"policy":{_quote(decided.version)},'
            f'"shadow":{"true" if gateway.shadow else "false"},"microseconds":'
        )
        end = (
            f',"headers":{{{told}}}{"" if headers.exact else _NOT_EXACT}'
            f"{f',{_MORE}{names.more}' if names.more else ''}{proof}}}"
        )
        if not _is_harmless(f"{head}{middle}{end}"):
            return None
        return (head.encode(), middle.encode(), f"{end}\n".encode())

    def _gateway(self, policy: Policy, gateway: Gateway | None) -> _Gateway:
        if policy is not self._policy:
            self._policy, self._memory, self._gateways = policy, _Memory(), {}
        key = gateway.id if gateway is not None else ""
        found = self._gateways.get(key)
        if found is None:
            found = self._gateways[key] = _Gateway(gateway, self.redact, self._memory)
        return found

    def _tell_headers(self, made: DecisionLine, names: _Names, headers: Headers) -> None:
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


def _time(time_ns: int) -> str:
    """Return a moment in UTC, in the form of RFC 3339 with microseconds."""
    second, left = divmod(time_ns, _SECOND_NS)
    return f"{_second(second)}.{left // 1000:06d}Z"


def _second(since: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since))


_SECOND_NS: Final = 1_000_000_000


def _end_of(headers: Headers, name: str) -> str | None:
    """Return the end of a list, where the nearest proxy wrote; None where the header did not come.

    What a client writes in front, however long, does not hide what stands there.
    """
    value = headers.read(name)
    if value is None or len(value) <= LONGEST_VALUE_BYTES:
        return value.decode(errors="replace") if value is not None else None
    return value[-LONGEST_VALUE_BYTES:].partition(b",")[2].decode(errors="replace")


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
