"""The checks of the deployment itself: TLS, who is refused, what a signed-in request brings, the Gateway's own port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from extauthz.gateway.checks import show
from extauthz.probe.answers import Answer, Failure, Fault
from extauthz.probe.checks import CHECKS, Outcome, Result
from extauthz.probe.forgeries import forge
from extauthz.probe.limits import EXPIRY_DAYS, HSTS_SECONDS
from extauthz.probe.tls import speaks_old

if TYPE_CHECKING:
    from extauthz.probe.asking import Asker
    from extauthz.probe.seen import Seen

_DAY: Final = 86_400
_NO_HTTPS: Final = "the address is http://"
SIGN_IN: Final = "takes a sign-in: --header-file"


def result(check: str, outcome: Outcome, seen: str) -> Result:
    """Return a result by the check's id."""
    return Result(CHECKS[check], outcome, seen)


def tls(asker: Asker) -> Result:
    """Is it TLS, and with whose certificate?"""
    target = asker.setup.target
    if not target.tls:
        if target.is_loopback:
            return result(
                "tls", Outcome.NOT_TESTED, f"{_NO_HTTPS} of this host: probe the one that clients use as well"
            )
        return result("tls", Outcome.HOLE, _NO_HTTPS)
    outcome = asker.plain.outcome
    if isinstance(outcome, Failure) and outcome.fault is Fault.NO_CERTIFICATE:
        return result("tls", Outcome.HOLE, f"{show(outcome.detail)}; nothing was sent")
    if not asker.setup.verified:
        return result("tls", Outcome.NOT_TESTED, "--accept-any-certificate-insecurely: nobody knows who was asked")
    return result("tls", Outcome.PASSED, f"the certificate is good for {target.host}")


def tls_version(asker: Asker) -> Result:
    """Does it agree on an old version?"""
    session, address = asker.client.session, asker.client.address
    if session is None or address is None:
        return result("tls_version", Outcome.NOT_TESTED, _NO_HTTPS)
    if asker.budget.spend() is not None:
        return result("tls_version", Outcome.NOT_TESTED, str(Fault.SPENT))
    old = speaks_old(address)
    if old is not None:
        return result("tls_version", Outcome.HOLE, f"agrees on {old}")
    return result("tls_version", Outcome.PASSED, f"{session.version}; nothing older than TLSv1.2")


def tls_expiry(asker: Asker) -> Result:
    """How long will the certificate hold?"""
    session = asker.client.session
    if session is None or session.begins is None or session.ends is None:
        return result("tls_expiry", Outcome.NOT_TESTED, "no certificate was verified")
    left = session.ends - time.time()
    text = f"it ends in {left / _DAY:.1f} days"
    soon = left < EXPIRY_DAYS * _DAY and left < (session.ends - session.begins) / 3
    return result("tls_expiry", Outcome.HOLE if soon else Outcome.PASSED, text)


def hsts(asker: Asker) -> Result:
    """Are browsers told to come by TLS alone?"""
    if not asker.setup.target.tls:
        return result("hsts", Outcome.NOT_TESTED, f"{_NO_HTTPS}, where it does not count")
    # The answer that a user's browser gets counts; a refusal may come from a hop that does not add it.
    seen = asker.signed if asker.signs_in and asker.signed.let_in else asker.plain
    found = seen.outcome.values("strict-transport-security") if isinstance(seen.outcome, Answer) else []
    if not found:
        return result("hsts", Outcome.HOLE, f"no Strict-Transport-Security in the answer ({seen})")
    seconds = _max_age(found[0])
    text = "no max-age in it" if seconds is None else f"max-age={seconds}"
    return result("hsts", Outcome.PASSED if (seconds or 0) >= HSTS_SECONDS else Outcome.HOLE, text)


def _max_age(value: str) -> int | None:
    for directive in value.split(";"):
        name, _, number = directive.partition("=")
        digits = number.strip().strip('"')
        if name.strip().lower() == "max-age" and digits.isascii() and digits.isdigit() and len(digits) < 12:
            return int(digits)
    return None


def http_redirect(asker: Asker) -> Result:
    """Where does plain HTTP lead?"""
    if not asker.setup.target.tls:
        return result("http_redirect", Outcome.NOT_TESTED, _NO_HTTPS)
    seen = asker.ask_plain_http()
    if seen is None:
        return result("http_redirect", Outcome.NOT_TESTED, "only the address given is asked; --http-port names another")
    if isinstance(seen.outcome, Failure):
        closed = seen.outcome.fault in {Fault.NO_CONNECTION, Fault.SILENCE, Fault.CLOSED}
        return result("http_redirect", Outcome.PASSED if closed else Outcome.NOT_TESTED, str(seen))
    where = seen.outcome.values("location")
    leads = 300 <= seen.status < 400 and len(where) == 1 and where[0].lower().startswith("https://")
    text = f"{seen}, to https://" if leads else f"{seen}, not a redirect to https://"
    return result("http_redirect", Outcome.PASSED if leads else Outcome.HOLE, text)


def no_identity(asker: Asker) -> Result:
    """Is nobody refused?"""
    return _nobody("no_identity", asker.plain, "is this the Gateway's address?")


def no_identity_websocket(asker: Asker) -> Result:
    """Is nobody's WebSocket refused?"""
    return _nobody("no_identity_websocket", asker.plain_upgrade, "--websocket-path, if there is a WebSocket elsewhere")


def _nobody(check: str, seen: Seen, otherwise: str) -> Result:
    if seen.let_in:
        return result(check, Outcome.HOLE, f"answered {seen}")
    if seen.reached:
        return result(check, Outcome.HOLE, f"reached the Gateway, which alone refused it: {seen}")
    if seen.denied:
        return result(check, Outcome.PASSED, f"answered {seen}")
    if seen.status >= 500:
        return result(check, Outcome.NOT_TESTED, f"answered {seen}: refused, or let through to a Gateway that is down")
    return result(check, Outcome.NOT_TESTED, f"answered {seen}; {otherwise}")


def identity_arrives(asker: Asker) -> Result:
    """Does a signed-in request bring what it should?"""
    if not asker.signs_in:
        return result("identity_arrives", Outcome.NOT_TESTED, SIGN_IN)
    return _brings("identity_arrives", asker.signed, asker)


def websocket_identity(asker: Asker) -> Result:
    """Does a signed-in upgrade?"""
    check = "websocket_identity"
    if not asker.signs_in:
        return result(check, Outcome.NOT_TESTED, SIGN_IN)
    if not asker.signed.reached:
        return result(check, Outcome.NOT_TESTED, f"no upgrade either: a signed-in request is answered {asker.signed}")
    seen = asker.signed_upgrade
    if seen.status in {401, 403} and not seen.reached:
        return result(check, Outcome.HOLE, f"refused as if it had none: {seen}")
    if seen.status not in {101, 401, 403}:
        return result(check, Outcome.NOT_TESTED, f"answered {seen}: no WebSocket there, or Upgrade is not passed on")
    return _brings(check, seen, asker)


def _brings(check: str, seen: Seen, asker: Asker) -> Result:
    if seen.arrived is None:
        if seen.stamp_refusal is not None:
            return result(check, Outcome.HOLE, f"the Gateway refused it: {seen}")
        said = "the Gateway does not report what arrived" if seen.let_in else "is the sign-in good?"
        return result(check, Outcome.NOT_TESTED, f"answered {seen}; {said}")
    faults = [
        f"{name} {'is missing' if times == 0 else 'is empty' if times == 1 else f'arrives {times} times'}"
        for name in asker.names.protected
        for times in [seen.times(name)]
        if times != 1 or not seen.values_of(name)[0].strip()
    ]
    if not faults and seen.stamp_refusal is not None:
        faults.append(f"the Gateway refused the stamp: {seen.stamp_refusal}")
    users = {value for name in (*asker.names.user, *asker.names.stamped[:1]) for value in seen.values_of(name)}
    if not faults and len(users) > 1:
        faults.append(f"{asker.names.stamped[0]} names another user than {', '.join(asker.names.user)}")
    if faults:
        return result(check, Outcome.HOLE, "; ".join(faults))
    return result(check, Outcome.PASSED, f"{len(asker.names.protected)} headers, each once")


def refusal_status(asker: Asker) -> Result:
    """How was refused what was refused, in all checks before this one?"""
    if not asker.failures:
        return result("refusal_status", Outcome.PASSED, "no 5xx")
    told = [f"{said} to {', '.join(dict.fromkeys(labels))}" for said, labels in asker.failures.items()]
    return result("refusal_status", Outcome.HOLE, "; ".join(told))


def gateway_port(asker: Asker) -> Result:
    """Does the Gateway answer from here?"""
    seen = asker.ask_gateway()
    if seen is None:
        return result("gateway_port", Outcome.NOT_TESTED, "--gateway-address names it")
    if not isinstance(seen.outcome, Failure) or seen.outcome.fault is Fault.NO_HTTP:
        return result("gateway_port", Outcome.HOLE, f"it answers: {seen}")
    if seen.outcome.fault in {Fault.NO_CONNECTION, Fault.SILENCE}:
        return result("gateway_port", Outcome.PASSED, f"{seen}")
    if seen.outcome.fault is Fault.CLOSED:
        return result("gateway_port", Outcome.WARNING, "something listens there, and closes without an answer")
    return result("gateway_port", Outcome.NOT_TESTED, str(seen))


def gateway_forged(asker: Asker) -> Result:
    """Does it believe who asks it directly?"""
    names = (*asker.names.protected, *asker.names.others)
    tries = [(forge(names), False), (forge(names), True)]
    if asker.setup.allowed_user is not None:
        tries.append((forge(names, value=asker.setup.allowed_user), False))
    said = []
    for forged, upgrade in tries:
        seen = asker.ask_gateway(forged, upgrade=upgrade)
        if seen is None:
            return result("gateway_forged", Outcome.NOT_TESTED, "--gateway-address names it")
        if isinstance(seen.outcome, Failure) and seen.outcome.fault is not Fault.CLOSED:
            good = seen.outcome.fault in {Fault.NO_CONNECTION, Fault.SILENCE}
            return result("gateway_forged", Outcome.PASSED if good else Outcome.NOT_TESTED, str(seen))
        if seen.let_in:
            what = "a WebSocket upgrade" if upgrade else "a request"
            return result("gateway_forged", Outcome.HOLE, f"{what} with a forged identity is answered {seen}")
        said.append(str(seen))
    return result("gateway_forged", Outcome.PASSED, f"answered {', '.join(dict.fromkeys(said))}")
