"""Decisions as those who look on get them: made by the real authorizer from the bytes of a real question."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cases.build import LOOPBACK, load_gateways
from cases.messages import check_request
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.core.request import Caller
from extauthz.recall import Decided
from extauthz.telemetry.lines import DecisionLine, LineMaker, encode
from extauthz.telemetry.record import Record
from extauthz.wire.forward_auth import HttpMessage
from forward_auth.asking import QUESTIONS, Asked
from telemetry.records import TIME_NS


class Onlooker:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def decided(  # noqa: PLR0917 - as the authorizer calls it
        self,
        decision_id: str,
        path: str,
        decision_ns: int,
        door_ns: int,
        trace: tuple[str, str] | None,
        decided: Decided,
        /,
    ) -> None:
        """Keep a record."""
        self.records.append(Record(TIME_NS, decision_id, path, decision_ns, door_ns, trace, decided))


class Asking:
    """An authorizer under a file with these gateways, and what became of what it was asked."""

    def __init__(self, gateways: Mapping[str, Any], **sections: Any) -> None:
        self._onlooker = Onlooker()
        loaded = load_gateways(gateways, **sections)
        self.redact = loaded.settings.decision_log.redact
        self.authorizer = Authorizer(make_snapshot(loaded), self._onlooker)

    def grpc(self, message: bytes, caller: Caller = LOOPBACK) -> Record:
        """Ask by the bytes of a CheckRequest."""
        self.authorizer.check(message, caller)
        return self._onlooker.records[-1]

    def check(self, pairs: Sequence[tuple[str, str | bytes]], **about: Any) -> Record:
        """Ask as Envoy does."""
        return self.grpc(check_request(pairs, **about))

    def http(self, message: HttpMessage, caller: Caller = LOOPBACK) -> Record:
        """Ask by an HTTP request as it arrived."""
        self.authorizer.forward(message, caller)
        return self._onlooker.records[-1]

    def forward(self, dialect: str, gateway: str, asked: Asked) -> Record:
        """Ask as this proxy does."""
        question = QUESTIONS[dialect](gateway, asked)
        headers = [("host", question.host), *((name.lower(), value) for name, value in question.pairs)]
        raw = [(name.encode(), value.encode()) for name, value in headers]
        return self.http(HttpMessage.of(question.method, question.target.encode(), raw))

    def told(self, record: Record) -> DecisionLine:
        """Return the line as a reader of the log gets it, having seen that it is one."""
        maker = LineMaker(self.redact)
        written = maker.written(record)
        assert written == encode(maker.line(record))  # the quick way and the plain one
        assert written.endswith(b"\n")
        text = written.decode()
        assert len(text.splitlines()) == 1
        assert text[:-1].isprintable()
        found: DecisionLine = json.loads(text)
        return found
