"""The same file served twice: once as it is, once with nothing recalled; whatever is asked, they tell the same."""

import json
from dataclasses import replace
from typing import Any

from cases.build import LOOPBACK, UNIX, gateway, load_gateways
from extauthz.assembly import make_snapshot
from extauthz.authorizer import Authorizer
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.telemetry.lines import LineMaker, encode
from extauthz.wire.forward_auth import HttpAnswer, HttpMessage
from extauthz.wire.pb import check_pb2 as pb
from telemetry.looking import Onlooker
from telemetry.records import changed

GATEWAYS: dict[str, Any] = {
    "g": gateway({"allowUsers": []}, trustedProxies=["10.0.0.7", "10.0.1.0/24"], hosts=["gateway.example.com"]),
    "listed": gateway({"allowUsers": ["nick@example.com", "a,b"], "allowCommaInUser": True}),
    "nine": gateway({"allowUsers": []}, ruleset="openclaw-2026.9", allowRealIpFallback=True),
    "origins": gateway(controlUi={"allowedOrigins": ["https://gateway.example.com"]}),
    "caller": gateway(peer="caller", trustedProxies=["127.0.0.1"]),
    "narrow": gateway(callers={"addresses": ["127.0.0.1"]}),
    "shadow": gateway(mode="shadow"),
    "host": gateway({"requiredHeaders": ["Host"]}),
    "certified": gateway(trustedPrincipals=["spiffe://cluster/proxy"], require="all"),
}
CALLERS = (LOOPBACK, UNIX, Caller(parse_address("127.0.0.2")), Caller(parse_address("192.0.2.1")))


class Both:
    """The same file twice: once as it is served, once with nothing recalled."""

    def __init__(self) -> None:
        snapshot = make_snapshot(load_gateways(GATEWAYS, stamp={"enabled": False}))
        self._lines = LineMaker(["cookie"])
        self._served, self._anew = Onlooker(), Onlooker()
        self.served = Authorizer(snapshot, self._served)
        self.anew = Authorizer(replace(snapshot), self._anew, recalls=False)

    def compare_check(self, message: bytes, caller: Caller) -> bool:
        """Ask both over gRPC, and tell whether it was recalled."""
        assert _without_ids(self.served.check(message, caller)) == _without_ids(self.anew.check(message, caller))
        return self._compare_lines()

    def compare_forward(self, message: HttpMessage, caller: Caller) -> bool:
        """Ask both over HTTP, and tell whether it was recalled."""
        served, anew = self.served.forward(message, caller), self.anew.forward(message, caller)
        assert _plain(served) == _plain(anew)
        return self._compare_lines()

    def _compare_lines(self) -> bool:
        record, other = self._served.records.pop(), self._anew.records.pop()
        other = changed(other, id=record.id, decision_ns=record.decision_ns, door_ns=record.door_ns)
        told = json.loads(self._lines.written(record))
        assert told == json.loads(encode(self._lines.line(record))) == json.loads(encode(self._lines.line(other)))
        assert list(told["headers"]) == list(json.loads(self._lines.written(record))["headers"])
        return record.decided.kept


def _without_ids(response: bytes) -> dict[str, Any]:
    found = pb.CheckResponse.FromString(response)
    decision = found.dynamic_metadata.fields["decision"].string_value
    assert decision
    text = response.replace(decision.encode(), b"-" * len(decision))
    return {"bytes": text}


def _plain(answer: HttpAnswer) -> tuple[int, list[tuple[bytes, bytes]]]:
    return answer.status, [(name, b"" if name == b"x-authz-decision" else value) for name, value in answer.headers]
