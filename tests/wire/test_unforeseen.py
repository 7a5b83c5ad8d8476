"""Whatever is thrown at the bytes, or breaks inside: the answer is a denial, and the log does not tell what it saw."""

import io
import os
import pty
import subprocess
import sys
import textwrap
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, CountingStamper, FailingStamper, authorizer_of, gateway
from cases.generated import bounded, examples
from cases.messages import FORMS, check_request, read
from cases.oracle import decide as oracle
from extauthz.core.address import parse_address
from extauthz.core.request import Caller
from extauthz.refusals import RateLimit, RefusalLimiter, RefusalLimits
from extauthz.wire.pb import check_pb2 as pb
from support.build import same_build
from support.logs import captured_logs, configured_logs

# A narrow terminal would break the lines that are looked for.
ENVIRONMENT = same_build(COLUMNS="1000", NO_COLOR="1")


@pytest.mark.parametrize(
    "error", [RuntimeError("no key"), RecursionError(), MemoryError(), KeyError("x"), OSError(5, "x")]
)
@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_failure_inside_is_a_denial_and_no_error_that_a_proxy_may_pass(error: Exception, mode: str) -> None:
    authorizer = authorizer_of({"g": gateway(mode=mode)}, FailingStamper(error))
    with captured_logs() as logs:
        outcome = read(authorizer.check(check_request(PAIRS), LOOPBACK))
    assert outcome.told == "deny:internal_error"
    assert outcome.status == 403
    decision = outcome.response.dynamic_metadata.fields["decision"].string_value
    assert [entry["decision"] for entry in logs] == [decision]


def _no_clock() -> int:
    raise OSError(5, "no clock")


def test_failure_at_bytes_that_are_no_request_is_a_denial_too() -> None:
    authorizer = authorizer_of({"g": gateway()})
    limits = RefusalLimits(per_peer=RateLimit(1, 60), per_user=None, tracked=10)
    limiter = RefusalLimiter(limits, clock=_no_clock)
    authorizer.snapshot = replace(authorizer.snapshot, refusals=limiter)
    stranger = Caller(parse_address("192.0.2.1"))
    with captured_logs() as logs:
        answer = authorizer.refuse(stranger)
    assert answer.status == 403
    assert b"internal_error" in answer.body
    assert len(logs) == 1


class _OddStamper(CountingStamper):
    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def stamp(self, **claims: str) -> str:
        """Return what no header can carry."""
        super().stamp(**claims)
        return self._value


@pytest.mark.parametrize("value", ["", "a\r\nx-authz-user: eve", "a\0", "\x7f", "s" * 16_385, "ü" * 8_193])
def test_value_that_no_header_can_carry_is_never_sent(value: str) -> None:
    authorizer = authorizer_of({"g": gateway()}, _OddStamper(value))
    with captured_logs():
        response = authorizer.check(check_request(PAIRS), LOOPBACK)
    assert read(response).told == "deny:internal_error"
    assert value == "" or value.encode() not in response


def test_log_that_cannot_be_written_leaves_nobody_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def broken(text: str) -> Any:
        tried.append(text)
        raise OSError(28, "no space left")

    stream = io.StringIO()
    monkeypatch.setattr(stream, "write", broken)
    monkeypatch.setattr("sys.stderr", stream)
    authorizer = authorizer_of({"g": gateway()}, FailingStamper(RuntimeError()))
    with configured_logs():
        assert read(authorizer.check(check_request(PAIRS), LOOPBACK)).told == "deny:internal_error"
    assert tried


@pytest.mark.parametrize("terminal", [False, True], ids=["json", "terminal"])
def test_traceback_in_the_log_holds_no_cookie_token_or_message(terminal: bool) -> None:
    # Tracebacks with the frames' variables would write the whole request into the log.
    program = textwrap.dedent("""
        from cases.build import *
        from cases.messages import check_request
        from extauthz.logs import configure_logs
        configure_logs()
        authorizer = authorizer_of({"g": gateway()}, FailingStamper(RuntimeError("no key to sign with")))
        pairs = [*PAIRS, ("cookie", "session=s3cret-cookie"), ("authorization", "Bearer s3cret-token")]
        authorizer.check(check_request(pairs), LOOPBACK)
    """)
    log = (_run_at_a_terminal if terminal else _run)(program)
    assert "no key to sign with" in log
    assert "authorizer.py" in log
    for secret in ("s3cret", "nick@example.com", "x-forwarded-user"):
        assert secret not in log


def _run(program: str) -> str:
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return found.stdout + found.stderr


def _run_at_a_terminal(program: str) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "wb", buffering=0) as stderr:
            subprocess.run([sys.executable, "-c", program], stdout=stderr, stderr=stderr, check=True, env=ENVIRONMENT)
        seen = b""
        with suppress(OSError):  # the terminal is closed once the program has ended
            while block := terminal.read(65_536):
                seen += block
    return seen.decode()


CONFIG = gateway({"requiredHeaders": []})
AUTHORIZER = authorizer_of({"g": CONFIG})
MESSAGES = [check_request(pairs, form=form) for pairs in (PAIRS, PAIRS[1:], [*PAIRS, PAIRS[0]]) for form in FORMS]


def _assert_allowed_only_by_the_rules(message: bytes) -> None:
    outcome = read(AUTHORIZER.check(message, LOOPBACK))
    if not outcome.passes:
        assert outcome.status in {401, 403}
        assert outcome.reason
        return
    request = pb.CheckRequest.FromString(message).attributes
    assert dict(request.context_extensions).get("gateway", "g") == "g"
    http = request.request.http
    raw = [
        (header.key, (header.raw_value or header.value).decode(errors="replace")) for header in http.header_map.headers
    ]
    pairs = raw or [(name, value.decode(errors="replace")) for name, value in http.headers.items()]
    pairs = [pair for pair in pairs if not pair[0].startswith(":")]
    peer = request.source.address.socket_address.address.decode(errors="replace")
    assert oracle(CONFIG, peer=peer, pairs=pairs, host=http.host, exact=bool(raw)) == f"allow:{outcome.user}"


@settings(bounded, max_examples=400)
@given(message=st.binary(max_size=200))
def test_garbage_is_never_allowed(message: bytes) -> None:
    _assert_allowed_only_by_the_rules(message)


@settings(bounded, max_examples=600)
@given(
    message=st.sampled_from(MESSAGES),
    changes=st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=3), st.integers(0, 3)), max_size=3),
    end=st.none() | st.integers(0, 1000),
)
def test_damaged_message_is_allowed_only_if_what_is_left_of_it_may_be(
    message: bytes, changes: list[tuple[int, bytes, int]], end: int | None
) -> None:
    for position, new, cut in changes:
        at = position % len(message) if message else 0
        message = message[:at] + new + message[at + cut :]
    _assert_allowed_only_by_the_rules(message[: end if end is None else end % (len(message) + 1)])


def test_every_truncation_of_a_good_message_is_answered() -> None:
    for message in MESSAGES:
        for end in range(len(message)):
            _assert_allowed_only_by_the_rules(message[:end])


@bounded
@given(data=st.data())
def test_two_messages_run_together_are_decided_as_the_one_they_make(data: st.DataObject) -> None:
    # Protobuf merges what follows into what came before: a second half must not bring a user of its own.
    example = data.draw(examples("standard", requests=1))
    tail = check_request(example.requests[0].pairs, peer=None, gateway=None)
    for message in MESSAGES:
        _assert_allowed_only_by_the_rules(message + tail)
