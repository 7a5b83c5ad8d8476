"""What the names of a request's headers say is remembered by their text: whose text is whose, and how much is kept."""

from collections.abc import Sequence

from cases.build import PAIRS, ask, gateway, policy_of
from extauthz.core import names
from extauthz.core.names import LONGEST_REMEMBERED_NAMES_CHARACTERS, REMEMBERED_NAME_SETS, NameSet, names_of
from extauthz.core.request import Headers

ALLOWED = "allow:nick@example.com"
REFUSED = "deny:header_alias_refused"


def _seen(*of: str) -> NameSet:
    return names_of(Headers(of, dict[str, bytes]().get, exact=True, size=0))


def test_alias_with_a_newline_in_it_is_not_taken_for_the_two_names_on_its_lines() -> None:
    # To a server that maps names to variables it is x-authz-user; the two others are nothing, and have the same text.
    policy = policy_of({"g": gateway()})
    for alias, harmless in ((["x\nauthz-user"], ["x", "authz-user"]), (["x-authz\nuser"], ["x-authz", "user"])):
        for order in ((harmless, alias, harmless, alias), (alias, harmless, alias)):
            for found in order:
                pairs = [*PAIRS, *((name, "eve") for name in found)]
                assert ask(policy, pairs=pairs) == (REFUSED if found is alias else ALLOWED)


def test_evidence_is_not_taken_from_a_line_of_another_name() -> None:
    for order in ((("a", "forwarded"), ("a\nforwarded",)), (("b\nx-real-ip",), ("b", "x-real-ip"))):
        for found in (*order, *order):
            assert _seen(*found).forwarded == (len(found) == 2)


def test_a_request_with_the_same_names_is_told_what_was_found_out_for_the_first() -> None:
    first = _seen("accept", "x-forwarded-for", "tailscale-user-name")
    assert _seen("accept", "x-forwarded-for", "tailscale-user-name") is first
    assert (first.count, first.plain, first.forwarded, first.tailscale) == (3, True, True, True)
    other = _seen("accept", "x_forwarded_for", "tailscale-user")
    assert (other.count, other.plain, other.forwarded, other.tailscale) == (3, False, False, False)
    none = _seen()
    assert (none.count, none.plain, none.forwarded, none.tailscale) == (0, True, False, False)


def test_a_flood_of_new_names_fills_no_memory() -> None:
    def kept(*of: str) -> bool:
        return _seen(*of) is _seen(*of)

    for number in range(2 * REMEMBERED_NAME_SETS + 1):
        assert kept("accept", f"x-{number}")
        assert len(names._known) <= REMEMBERED_NAME_SETS
    longest = "x" * (LONGEST_REMEMBERED_NAMES_CHARACTERS - 1)
    assert kept(longest)
    assert not kept(longest + "x")
    assert not kept("a\nb")


def test_every_alias_is_found_among_names_that_are_remembered() -> None:
    policy = policy_of({"one": gateway(), "two": gateway({"userHeader": "x_remote_user"})})

    def told(gateway: str, more: Sequence[tuple[str, str]]) -> list[str]:
        return [ask(policy, gateway=gateway, pairs=[*PAIRS, *more]) for _ in range(3)]

    # Of each gateway's own names, though both gateways are asked about the same ones.
    alias = [("x-remote-user", "eve"), ("x_remote_user", "nick@example.com")]
    assert told("two", alias) == [REFUSED] * 3
    assert told("one", alias) == [ALLOWED] * 3
    assert told("two", alias[1:]) == [ALLOWED] * 3
