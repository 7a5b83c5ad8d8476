"""The checks of what a client forges: one row each, made of several requests that differ in form. Judged by `seen`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from extauthz.probe.checks import Outcome, Result
from extauthz.probe.deployment import SIGN_IN, result
from extauthz.probe.forgeries import ALIASES, COPIES, FORMS, FORWARDED, HOP_BY_HOP, LONG, Forged, forge
from extauthz.probe.seen import chained, differences, passages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from extauthz.probe.asking import Asker
    from extauthz.probe.seen import Seen

Attempt = tuple[str, tuple[str, ...]]
"""A form, and the headers that are forged in it."""

# By these extauthz says that it took a header for the identity, and judged who is in it.
_TAKEN: Final = frozenset({"trusted_proxy_user_not_allowed", "trusted_proxy_user_ambiguous"})
_CHAINED: Final = "x-forwarded-for arrives left of the proxy's own entry: the Gateway must read it from the right"


@dataclass
class _Tally:
    """What the requests of one check have shown."""

    holes: dict[str, list[str]] = field(default_factory=dict)
    """The forms by what was seen."""
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Why something could not be told."""
    refused: int = 0
    requests: int = 0

    def result(self, check: str, *, worst: Outcome = Outcome.HOLE) -> Result:
        """Say what the check has come to."""
        if self.holes:
            return result(check, worst, self._told())
        if self.warnings:
            return result(check, Outcome.WARNING, "; ".join(dict.fromkeys(self.warnings)))
        if self.unknown:
            why = "; ".join(dict.fromkeys(self.unknown))
            return result(check, Outcome.NOT_TESTED, f"{len(self.unknown)} of {self.requests} requests: {why}")
        return result(check, Outcome.PASSED, f"{self.requests} requests, {self.refused} of them refused")

    def _told(self) -> str:
        """Say what was found, what came in the same forms together."""
        together: dict[tuple[str, ...], list[str]] = {}
        for what, forms in self.holes.items():
            # How often an empty copy arrived says no more where full ones did.
            if " times instead of " not in what or f"{what.split(' ', 1)[0]} arrives" not in self.holes:
                together.setdefault(tuple(dict.fromkeys(forms)), []).append(what)
        return "; ".join(f"{', '.join(whats)} ({', '.join(forms)})" for forms, whats in together.items())


def forged_sign_in(asker: Asker) -> Result:
    """Does a forged identity let anybody in?"""
    check, names = "forged_sign_in", asker.names
    if asker.plain.let_in:
        return result(check, Outcome.NOT_TESTED, "nobody needs an identity here")
    own = asker.sign_in_names(names.protected)
    if own:
        return result(check, Outcome.NOT_TESTED, f"the sign-in is {own[0]} itself: the probe speaks as a trusted proxy")
    tally = _Tally()
    for form, forged, upgrade in _identities(asker):
        before = asker.plain_upgrade if upgrade else asker.plain
        seen = asker.ask(forged, upgrade=upgrade, label=f"forged identity {form}")
        _judge_sign_in(tally, f"WebSocket, {form}" if upgrade else form, seen, before)
    return tally.result(check)


def _identities(asker: Asker) -> Iterator[tuple[str, Forged, bool]]:
    names, allowed = asker.names, asker.setup.allowed_user
    for form in FORMS:
        yield form, forge(names.user, form), False
        yield form, forge(names.stamped, form), False
    yield "plain", forge(names.others), False
    yield "plain", forge(names.user), True
    yield "plain", forge(names.stamped), True
    if allowed is not None:
        for form in (*COPIES, *ALIASES):
            yield f"{form}, an allowed user", forge(names.user, form, value=allowed), False
        yield "plain, an allowed user", forge((*names.stamped, *names.others), value=allowed), False
        yield "plain, an allowed user", forge(names.user, value=allowed), True


def _judge_sign_in(tally: _Tally, form: str, seen: Seen, before: Seen) -> None:
    tally.requests += 1
    if seen.let_in:
        tally.holes.setdefault(f"answered {seen.status}", []).append(form)
    elif seen.reached and not before.reached:
        tally.holes.setdefault("reaches the Gateway", []).append(form)
    elif seen.reason in _TAKEN and before.reason not in _TAKEN:
        tally.holes.setdefault(f"extauthz takes it for the user: {seen.reason}", []).append(form)
    elif not seen.refused:
        tally.unknown.append(str(seen))
    else:
        tally.refused += 1
        weighed = seen.reason is None and before.reason is None and before.status == 401 and seen.status == 403
        if weighed and form in COPIES:
            tally.warnings.append("401 becomes 403 with a forged user: it may have been weighed (--allowed-user tells)")


@dataclass(frozen=True, slots=True)
class _Base:
    """The request without a forgery, with which those with one are compared."""

    seen: Seen
    signed_in: bool
    upgrade: bool


def _base(asker: Asker, *, upgrade: bool) -> _Base | str:
    """Return the request to compare with, or why there is none: it must reach the Gateway."""
    if asker.signs_in:
        base = _Base(asker.signed_upgrade if upgrade else asker.signed, signed_in=True, upgrade=upgrade)
    else:
        base = _Base(asker.plain_upgrade if upgrade else asker.plain, signed_in=False, upgrade=upgrade)
    if base.seen.reached:
        return base
    return f"the signed-in {'upgrade' if upgrade else 'request'} is answered {base.seen}" if base.signed_in else SIGN_IN


def _row(
    check: str, attempts: Callable[[Asker], Iterable[Attempt]], *, upgrade: bool = False, worst: Outcome = Outcome.HOLE
) -> Callable[[Asker], Result]:
    """Make a check of attempts, each of which is compared with the same request without a forgery."""

    def run(asker: Asker) -> Result:
        base = _base(asker, upgrade=upgrade)
        if isinstance(base, str):
            return result(check, Outcome.NOT_TESTED, base)
        tally = _Tally()
        for form, names in attempts(asker):
            _attempt(asker, base, tally, form, names)
        if not tally.requests:
            return result(check, Outcome.NOT_TESTED, "the file says which header the Gateway reads: no other counts")
        return tally.result(check, worst=worst)

    return run


def _attempt(asker: Asker, base: _Base, tally: _Tally, form: str, names: Sequence[str]) -> None:
    label = f"forged {', '.join(names[:2])}{' ...' if len(names) > 2 else ''} {form}"
    seen = asker.ask(forge(names, form), signed_in=base.signed_in, upgrade=base.upgrade, label=label)
    if seen.refused and not seen.reached and len(names) > 1:
        # It may be one of them that is refused, and the others would pass.
        for name in names:
            _attempt(asker, base, tally, form, [name])
        return
    tally.requests += 1
    found = list(passages(seen))
    named = {one.split(" ", 1)[0] for one in found}
    found += [one for one in differences(seen, base.seen, asker.names.protected) if one.split(" ", 1)[0] not in named]
    if not found and seen.arrived is None and seen.stamp_refusal and base.seen.let_in:
        found.append(f"the Gateway gets another stamp, or none: {seen.stamp_refusal}")
    for what in found:
        # What arrives anyhow is no finding about Connection.
        if form not in HOP_BY_HOP or base.upgrade or what not in asker.arriving:
            tally.holes.setdefault(what, []).append(form)
    asker.arriving.update(found)
    if chained(seen):
        tally.warnings.append(_CHAINED)
    if found or seen.arrived is not None:
        return
    if seen.refused and not seen.reached:
        tally.refused += 1
    else:
        tally.unknown.append(
            f"answered {seen}; the Gateway does not report what arrived" if seen.reached else str(seen)
        )


def _in_forms(forms: Iterable[str], *groups: tuple[str, ...]) -> Iterator[Attempt]:
    yield from ((form, names) for names in groups for form in forms)


def _upgrades(asker: Asker) -> Iterator[Attempt]:
    names = asker.names
    yield from _in_forms(("plain", "twice", "in upper case"), names.user)
    # Servers of WebSockets may not read a line of 8 KiB, and never answer.
    yield from _in_forms((form for form in COPIES if form != LONG), names.stamped)
    yield from _in_forms((*ALIASES, *HOP_BY_HOP), names.user, names.stamped)
    yield "plain", FORWARDED


forged_user: Final = _row("forged_user", lambda asker: _in_forms(COPIES, asker.names.user))
"""Does a copy of the user header arrive?"""
forged_stamp: Final = _row("forged_stamp", lambda asker: _in_forms(COPIES, asker.names.stamped))
"""Does a copy of what extauthz stamps?"""
forged_alias: Final = _row("forged_alias", lambda asker: _in_forms(ALIASES, asker.names.user, asker.names.stamped))
"""Does an alias of either?"""
forged_hop_by_hop: Final = _row(
    "forged_hop_by_hop", lambda asker: _in_forms(HOP_BY_HOP, asker.names.user, asker.names.stamped)
)
"""Can a client have them dropped?"""
forged_forwarded: Final = _row("forged_forwarded", lambda _: (("plain", FORWARDED),))
"""Does a forged origin or path arrive?"""
forged_known: Final = _row(
    "forged_known", lambda asker: (("plain", asker.names.others),) if asker.names.others else (), worst=Outcome.WARNING
)
"""Does another header that may be read as an identity?"""
forged_websocket: Final = _row("forged_websocket", _upgrades, upgrade=True)
"""Does any of that arrive with an upgrade?"""
