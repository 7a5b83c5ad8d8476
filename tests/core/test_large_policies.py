"""Policies of the sizes that the budgets name decide right, at both ends and beside what is in them.

Time is the benchmark's business. What is looked at here is that what is searched is a table and not a list.
"""

from cases.build import PAIRS, gateway, policy_of, request_of, told
from extauthz.core.address import AddressSet, Network, parse_address, parse_entry
from extauthz.core.decide import decide
from extauthz.core.decision import Allow, Decision
from extauthz.core.policy import Callers, Gateway, Policy
from extauthz.core.rulesets import RULESETS

USERS, RANGES, GATEWAYS = 100_000, 10_000, 1_000


def _ask(policy: Policy, *, user: str = "user-0", peer: str = "10.0.0.7", **request: str | None) -> Decision:
    return decide(policy, request_of([("x-forwarded-user", user), *PAIRS[1:]], peer=peer, **request))  # type: ignore[arg-type]


def test_hundred_thousand_users_decide_right() -> None:
    policy = policy_of({"g": gateway({"allowUsers": [f"user-{n}" for n in range(USERS)]})})
    for number in (0, 1, USERS // 2, USERS - 1):
        assert told(_ask(policy, user=f"user-{number}")) == f"allow:user-{number}"
    for user in (f"user-{USERS}", "user-", "USER-0", "user-00"):
        assert told(_ask(policy, user=user)) == "deny:trusted_proxy_user_not_allowed"
    assert isinstance(policy.gateways["g"].allow_users, frozenset)


def test_ten_thousand_ranges_decide_right() -> None:
    # Every second /28, so that there is a gap after each.
    ranges = [str(Network(4, (10 << 24) + n * 32, 28)) for n in range(RANGES)]
    policy = policy_of({"g": gateway({"allowUsers": []}, trustedProxies=ranges)})
    for number in (0, 1, RANGES // 2, RANGES - 1):
        first = (10 << 24) + number * 32
        inside = (first, first + 15)
        outside = (first - 1, first + 16)
        for value, allowed in (*((v, True) for v in inside), *((v, False) for v in outside)):
            decision = _ask(policy, peer=str(Network(4, value, 32)).removesuffix("/32"))
            assert isinstance(decision, Allow) == allowed


def test_overlapping_ranges_do_not_hide_each_other() -> None:
    entries = AddressSet(map(parse_entry, ["10.0.0.0/8", "10.0.0.0/30", "10.255.255.252/30", "11.0.0.0/8"]))
    for text, inside in (("10.128.0.1", True), ("10.255.255.255", True), ("11.0.0.0", True), ("12.0.0.0", False)):
        address = parse_address(text)
        assert address is not None
        assert (address in entries) == inside


def test_thousand_gateways_decide_right_by_name_and_by_host() -> None:
    policy = policy_of(
        {
            f"g{n}": gateway({"allowUsers": [f"user-{n}"]}, hosts=[f"g{n}.example.com", f"*.g{n}.example.com"])
            for n in range(GATEWAYS)
        }
    )
    for number in (0, 1, GATEWAYS // 2, GATEWAYS - 1):
        user, other = f"user-{number}", f"user-{number + 1}"
        for request in (
            {"gateway": f"g{number}"},
            {"gateway": None, "host": f"g{number}.example.com"},
            {"gateway": None, "host": f"a.b.g{number}.example.com"},
        ):
            assert told(_ask(policy, user=user, **request)) == f"allow:{user}"
            assert told(_ask(policy, user=other, **request)) == "deny:trusted_proxy_user_not_allowed"
    assert told(_ask(policy, gateway=f"g{GATEWAYS}")) == "deny:gateway_unknown"


class _Counted(str):
    """A text that counts how often it is compared."""

    compared = 0
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        type(self).compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__


def test_no_search_compares_the_user_with_every_entry() -> None:
    users = frozenset(_Counted(f"user-{n}") for n in range(USERS))
    compiled = Gateway(
        id="g",
        ruleset=RULESETS["standard"],
        trusted_proxies=AddressSet([parse_entry("10.0.0.7")]),
        allow_loopback=True,
        user_header="x-forwarded-user",
        allow_users=users,
    )
    policy = Policy([compiled], callers=Callers(addresses=None), most_headers=200, longest_header_bytes=16_384)
    _Counted.compared = 0
    assert told(_ask(policy, user="user-5")) == "allow:user-5"
    assert told(_ask(policy, user="nobody")) == "deny:trusted_proxy_user_not_allowed"
    assert _Counted.compared < 100
