"""What is in force, made from a checked configuration and its keys. No server, no thread, no signal.

`service.py` runs what is made here, `reload.py` makes it again, tests make it for themselves.
"""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from extauthz.authorizer import Snapshot
from extauthz.config.assertions import rules_of
from extauthz.config.compile import UNRESOLVED, Peers, Verifiers, compile_policy, no_keys
from extauthz.config.faults import Fault
from extauthz.config.load import Loaded
from extauthz.config.schema import Server, Settings
from extauthz.config.values import rate_limit, seconds
from extauthz.core.text import fold, trim
from extauthz.doors.certificates import CertificateError, Certificates
from extauthz.doors.token_file import TokenFile, TokenFileError
from extauthz.logs import get_logger
from extauthz.refusals import RefusalLimiter, RefusalLimits
from extauthz.stamp.keys import KeyDirectory, KeyDirectoryError, generate
from extauthz.stamp.keys import load as load_keys
from extauthz.stamp.keyset import Schedule
from extauthz.stamp.signer import Signatures, Stamper
from extauthz.telemetry.decision_log import NONE, STDOUT, DecisionLog, DecisionLogSettings, open_settings
from extauthz.telemetry.output import OutputError
from extauthz.wire.answer import AnswerBuilder

_log: Final = get_logger(__name__)

# Of a version: enough to tell two configurations apart, and short enough for a log line.
VERSION_CHARACTERS: Final = 12
# What says nothing about a decision or its answer: replicas that differ in it alone decide alike.
_APART: Final = {"listen", "server", "tls", "decision_log", "admin", "accepted"}


class AssemblyError(Exception):
    """The service cannot be put together; the text says why and what to do."""


def open_keys(loaded: Loaded) -> KeyDirectory | None:
    """Open the directory of stamp keys, making the first key where the configuration says so; None without stamps.

    Raises:
        AssemblyError: There is no key, or one that cannot be used.
    """
    stamp = loaded.settings.stamp
    if not stamp.enabled:
        return None
    folder = loaded.path(stamp.keys)
    schedule = Schedule(lifetime=int(seconds(stamp.lifetime)))
    try:
        made = generate(folder, stamp.algorithm, schedule) if stamp.generate_keys else None
        if made is not None:
            _log.info("made the first stamp key", kid=made.kid, file=str(folder / made.file))
        return KeyDirectory(folder, schedule)
    except KeyDirectoryError as error:
        raise AssemblyError(str(error)) from error


def make_stamper(loaded: Loaded, keys: KeyDirectory, signatures: Signatures | None = None) -> Stamper:
    """Make what signs, from a checked configuration and its keys, and counts what it signs.

    Raises:
        AssemblyError: No key is of the configured algorithm.
    """
    stamp = loaded.settings.stamp
    try:
        return Stamper(
            keys,
            issuer=stamp.issuer,
            algorithm=stamp.algorithm,
            lifetime=int(seconds(stamp.lifetime)),
            bind=stamp.bind,
            reuse=seconds(stamp.reuse),
            signatures=signatures,
        )
    except KeyDirectoryError as error:
        raise AssemblyError(f"{loaded.path(stamp.keys)}: {error}") from error


def make_snapshot(  # noqa: PLR0913 - what outlives a snapshot, each by name
    loaded: Loaded,
    keys: KeyDirectory | None = None,
    signatures: Signatures | None = None,
    *,
    refusals: RefusalLimiter | None = None,
    peers: Peers = UNRESOLVED,
    verifiers: Verifiers = no_keys,
) -> Snapshot:
    """Make what is in force from a checked configuration and the stamp keys; without keys, allows have no stamp.

    What is signed is counted in `signatures`, which outlives the snapshot. So does what limited denials until now,
    `refusals`, with all that it counted, if the limits are the same. `peers` is whom names stand for,
    `verifiers` return what verifies assertions.

    Raises:
        AssemblyError: No key is of the configured algorithm.
    """
    settings = loaded.settings
    names = {
        "user": settings.headers.user,
        "gateway": settings.headers.gateway,
        "decision": settings.headers.decision,
        "stamp": settings.headers.stamp,
    }
    answers = AnswerBuilder(
        {key: fold(trim(name)) for key, name in names.items()},
        body=settings.denial.body,
        show_reason=settings.denial.reason,
    )
    stamper = make_stamper(loaded, keys, signatures) if keys is not None else None
    return Snapshot(
        policy=compile_policy(loaded, peers=peers, verifiers=verifiers),
        answers=answers,
        stamper=stamper,
        refusals=_refusal_limiter(settings, refusals),
        version=version_of(settings),
    )


def _refusal_limiter(settings: Settings, before: RefusalLimiter | None) -> RefusalLimiter | None:
    wanted = settings.limits.refusals
    if wanted is None:
        return None
    limits = RefusalLimits(
        per_peer=rate_limit(wanted.per_peer) if wanted.per_peer is not None else None,
        per_user=rate_limit(wanted.per_user) if wanted.per_user is not None else None,
        tracked=wanted.tracked,
    )
    return before if before is not None and before.limits == limits else RefusalLimiter(limits)


def version_of(settings: Settings) -> str:
    """Return the version of a configuration: a digest of all that a decision or its answer depends on."""
    text = settings.model_dump_json(exclude=_APART)
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_CHARACTERS]


def server_faults(server: Server) -> Iterator[Fault]:
    """Yield which of the servers that are extras is not installed."""
    # Imported only here: of two engines one is loaded.
    if server.engine == "native":
        from extauthz.doors import envoy_native  # noqa: PLC0415

        if not envoy_native.is_installed():
            yield Fault("server.engine", envoy_native.NOT_INSTALLED)
    if server.http_loop == "uvloop":
        from extauthz.doors import http_server  # noqa: PLC0415

        if not http_server.has_uvloop():
            yield Fault("server.httpLoop", http_server.NO_UVLOOP)


def file_faults(loaded: Loaded) -> Iterator[Fault]:
    """Yield what is wrong with the files that the configuration names, and with the servers that it chooses."""
    yield from server_faults(loaded.settings.server)
    if loaded.settings.tls is not None:
        try:
            open_certificates(loaded)
        except CertificateError as error:
            yield Fault("tls", str(error))
    try:
        open_admin_token(loaded)
    except AssemblyError as error:
        yield Fault("admin.tokenFile", str(error))
    stamp = loaded.settings.stamp
    if stamp.enabled:
        try:
            keys = load_keys(loaded.path(stamp.keys))
            if not keys.keys and not stamp.generate_keys:
                yield Fault("stamp.keys", f"no key to sign with: run `extauthz keys generate --keys {stamp.keys}`")
            if keys.keys and all(key.algorithm != stamp.algorithm for key in keys.published(time.time())):
                yield Fault(
                    "stamp.algorithm", f"no {stamp.algorithm} key is in {stamp.keys}: set the algorithm of its keys"
                )
        except KeyDirectoryError as error:
            yield Fault("stamp.keys", str(error))
    yield from _assertion_faults(loaded)
    output = decision_log_settings(loaded).output
    if isinstance(output, Path) and not output.parent.is_dir():
        yield Fault("decisionLog.output", f"there is no folder {output.parent}: make it first")


def _assertion_faults(loaded: Loaded) -> Iterator[Fault]:
    """Yield what is wrong with the files of assertions. What has to be fetched is not: it may be back tomorrow."""
    for name, gateway in loaded.settings.gateways.items():
        model = gateway.auth.trusted_proxy.assertion if gateway.auth and gateway.auth.trusted_proxy else None
        if model is not None:
            from extauthz.assertion.sources import file_faults as faults  # noqa: PLC0415 - not without an assertion

            for key, text in faults(rules_of(model, loaded.path).source):
                yield Fault(f"gateways.{name}.auth.trustedProxy.assertion.{key}", text)


def open_admin_token(loaded: Loaded) -> TokenFile | None:
    """Read the token of the admin address; None where the configuration has none.

    Raises:
        AssemblyError: It cannot be used.
    """
    name = loaded.settings.admin.token_file
    if name is None:
        return None
    try:
        return TokenFile(loaded.path(name))
    except TokenFileError as error:
        raise AssemblyError(str(error)) from error


def decision_log_settings(loaded: Loaded) -> DecisionLogSettings:
    """Return what the decision log is to do; its path starts at the file's own folder, as every other."""
    log = loaded.settings.decision_log
    return DecisionLogSettings(
        output=log.output if log.output in {STDOUT, NONE} else loaded.path(log.output),
        allows=log.allows,
        redact=tuple(log.redact),
        rotate_bytes=log.rotate_bytes,
        keep=log.keep,
    )


def open_decision_log(loaded: Loaded) -> DecisionLog:
    """Open what writes the decisions.

    Raises:
        AssemblyError: Its output cannot be written.
    """
    try:
        return DecisionLog(open_settings(decision_log_settings(loaded)))
    except OutputError as error:
        raise AssemblyError(f"decisionLog.output: {error}") from error


def open_certificates(loaded: Loaded) -> Certificates | None:
    """Read the server's certificates; None where the configuration has none.

    Raises:
        CertificateError: They cannot be used.
    """
    tls = loaded.settings.tls
    if tls is None:
        return None
    return Certificates(
        loaded.path(tls.certificate),
        loaded.path(tls.private_key),
        loaded.path(tls.client_ca) if tls.client_ca is not None else None,
    )
