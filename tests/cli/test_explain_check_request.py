"""`extauthz explain --check-request`: what is captured is explained as the gRPC door decides it, in either form."""

import base64
import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cases.build import LOOPBACK, PAIRS, authorizer_of, gateway, text_of
from cases.corpus import Case, cases
from cases.generated import bounded
from cases.messages import FORMS, Form, check_request, read
from extauthz.cli import main
from extauthz.explaining.captured import CapturedError, read_message

EVERY_NINTH = cases()[::9]


def explain(
    folder: Path, data: bytes, *options: str, gateways: dict[str, Any] | None = None, **sections: Any
) -> Result:
    """Explain a captured file; whatever it ends with, it is no traceback."""
    (folder / "captured").write_bytes(data)
    (folder / "e.yaml").write_text(text_of({**sections, "gateways": gateways or {"g": gateway()}}), encoding="utf-8")
    argv = ["explain", "--config", str(folder / "e.yaml"), "--check-request", str(folder / "captured"), *options]
    result = CliRunner().invoke(main, argv)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def explained(folder: Path, data: bytes, *options: str, **further: Any) -> Any:
    return json.loads(explain(folder, data, "--format", "json", *options, **further).stdout)


def as_json(message: bytes, *, camel: bool) -> bytes:
    """Write a CheckRequest as Envoy's own message would be written in protobuf JSON: text is text, bytes are base64."""
    from extauthz.wire.pb import check_pb2 as pb  # noqa: PLC0415 - the helper's own

    found = pb.CheckRequest.FromString(message).attributes
    http = found.request.http
    entries = [
        {"key": entry.key, "value": entry.value.decode(), "raw_value": base64.b64encode(entry.raw_value).decode()}
        for entry in http.header_map.headers
    ]
    told: dict[str, Any] = {
        "attributes": {
            "source": {
                "address": {
                    "socket_address": {
                        "address": found.source.address.socket_address.address.decode(errors="surrogatepass"),
                        "port_value": 4444,
                    }
                },
                "principal": "",
            },
            "destination": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 8080}}},
            "request": {
                "time": "2026-11-22T17:05:54.123456Z",
                "http": {
                    "id": "1",
                    "method": http.method,
                    "headers": {name: value.decode() for name, value in http.headers.items()},
                    "path": http.path,
                    "host": http.host,
                    "scheme": http.scheme,
                    "size": "-1",
                    "protocol": http.protocol,
                },
            },
            "context_extensions": dict(found.context_extensions),
            "metadata_context": {},
        }
    }
    if entries:
        told["attributes"]["request"]["http"]["header_map"] = {"headers": entries}
    return json.dumps(_camel(told) if camel else told, indent=1).encode()


def _camel(found: Any) -> Any:
    """Write the names of fields in camelCase; those of headers stay as they are."""
    if isinstance(found, list):
        return [_camel(one) for one in found]
    if not isinstance(found, dict):
        return found
    kept = {"headers", "context_extensions"}
    return {
        _camel_name(key): value if key in kept and isinstance(value, dict) else _camel(value)
        for key, value in found.items()
    }


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def message_of(case: Case, form: Form = "raw") -> bytes:
    return check_request(case.pairs, form=form, gateway=case.gateway_id, peer=case.peer)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_explained_as_the_door_decides(tmp_path: Path, form: Form) -> None:
    gateways = {case.gateway_id: case.gateway for case in EVERY_NINTH}
    authorizer = authorizer_of(gateways)
    for case in EVERY_NINTH:
        message = message_of(case, form)
        door = read(authorizer.check(message, LOOPBACK))
        framed = b"\0" + struct.pack(">I", len(message)) + message
        for data in (message, framed, as_json(message, camel=True), b"\xef\xbb\xbf \n" + as_json(message, camel=False)):
            found = explained(tmp_path, data, gateways=gateways)
            assert (found["allowed"], found["status"]) == (door.passes, door.status), case.name
            assert (found["reason"] or "", found["user"] or "") == (door.reason, door.user if door.passes else "")
            assert found["gateway"] == case.gateway_id


def test_the_end_says_what_was_decided(tmp_path: Path) -> None:
    allowed, denied = explain(tmp_path, check_request(PAIRS)), explain(tmp_path, check_request(PAIRS, peer="10.0.0.8"))
    assert (allowed.exit_code, denied.exit_code) == (0, 1)
    assert "allowed as nick@example.com by gateway g" in allowed.stdout
    assert "The peer 10.0.0.8 is not in trustedProxies; 10.0.0.7 is." in denied.stdout


def test_standard_input_is_read_as_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text_of({"gateways": {"g": gateway()}}), encoding="utf-8")
    argv = ["explain", "--config", str(tmp_path / "e.yaml"), "--check-request", "-"]
    assert CliRunner().invoke(main, argv, input=check_request(PAIRS)).exit_code == 0
    assert "standard input: is empty" in CliRunner().invoke(main, argv, input=b"").output


def test_who_asks_can_be_said(tmp_path: Path) -> None:
    message = check_request(PAIRS)
    assert explained(tmp_path, message, "--caller", "10.5.0.1")["reason"] == "caller_not_allowed"
    assert explained(tmp_path, message, "--caller", "unix")["allowed"]
    assert explain(tmp_path, message, "--caller", "proxy").exit_code == 2


def test_the_client_of_the_proxy_is_not_taken_for_the_proxy(tmp_path: Path) -> None:
    gateways = {"g": gateway(peer="caller", trustedProxies=["127.0.0.1"])}
    message = check_request(PAIRS, peer="127.0.0.1")
    unsaid = explain(tmp_path, message, gateways=gateways)
    assert (unsaid.exit_code, "say it with --caller" in unsaid.stderr) == (2, True)
    assert explained(tmp_path, message, "--caller", "127.0.0.1", gateways=gateways)["allowed"]
    refused = explained(tmp_path, message, "--caller", "127.0.0.2", gateways=gateways)
    assert refused["reason"] == "trusted_proxy_untrusted_source"


def test_copies_count_as_the_form_proves_them(tmp_path: Path) -> None:
    gateways = {"g": gateway({"allowCommaInUser": True, "allowUsers": []})}
    pairs = [("x-forwarded-user", "Nick, the other"), *PAIRS[1:]]
    raw, joined = (check_request(pairs, form=form) for form in FORMS[::-1])
    for message, reason in ((raw, None), (joined, "trusted_proxy_user_ambiguous")):
        for data in (message, as_json(message, camel=True)):
            assert explained(tmp_path, data, gateways=gateways)["reason"] == reason


def test_bytes_that_are_no_utf8_are_what_they_are_to_the_door(tmp_path: Path) -> None:
    message = check_request([("x-forwarded-user", b"\xff"), *PAIRS[1:]])
    assert explained(tmp_path, message)["reason"] == "request_malformed"
    raw = {"key": "x-forwarded-user", "raw_value": base64.b64encode(b"\xff").decode()}
    written = {"attributes": {"request": {"http": {"header_map": {"headers": [raw]}}}}}
    assert explained(tmp_path, json.dumps(written).encode())["reason"] == "request_malformed"


def test_a_request_without_http_is_told_as_the_door_tells_it(tmp_path: Path) -> None:
    for data in (b'{"attributes": {}}', b'{"attributes": {"request": {"http": null}}}', b"\x0a\x00"):
        assert explained(tmp_path, data)["reason"] == "request_malformed"


def test_a_message_over_the_limit_never_reaches_the_decision(tmp_path: Path) -> None:
    message = check_request([*PAIRS, ("cookie", "s3cret" * 1000)])
    result = explain(tmp_path, message, limits={"messageBytes": 4096, "headerBytes": 2048})
    assert (result.exit_code, "limits.messageBytes is 4096" in result.stderr) == (2, True)


HTTP = '{"attributes": {"request": {"http": %s}}}'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"nonsense", "neither JSON nor a CheckRequest"),
        (b"\xff\xff\xff", "neither JSON nor a CheckRequest"),
        (b"GET / HTTP/1.1\r\n", "neither JSON nor a CheckRequest"),
        (b"[]", "the file: must be an object"),
        (b'{"attributes": ', "is no JSON: Expecting value in line 1, column 16"),
        (b'{"a": "\xff"}', "is no UTF-8 at byte 7"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{}", "has no `attributes`"),
        (b'{"atributes": {}}', "atributes: unknown field; did you mean 'attributes'?"),
        (b'{"attributes": []}', "attributes: must be an object"),
        (b'{"attributes": {"contextExtension": {}}}', "did you mean 'context_extensions'?"),
        (b'{"attributes": {"context_extensions": []}}', "attributes.context_extensions: must be an object"),
        (b'{"attributes": {"context_extensions": {"gateway": 1}}}', "context_extensions.gateway: must be text"),
        (b'{"attributes": {"contextExtensions": {}, "context_extensions": {}}}', "stands twice"),
        (b'{"attributes": {"source": {"adress": {}}}}', "attributes.source.adress: unknown field"),
        (b'{"attributes": {"source": {"address": {"socketAddress": {"address": 1}}}}}', "address: must be text"),
        ((HTTP % '{"header": {}}').encode(), "attributes.request.http.header: unknown field; did you mean 'headers'?"),
        ((HTTP % '{"headers": []}').encode(), "attributes.request.http.headers: must be an object"),
        ((HTTP % '{"headers": {"a": ["b"]}}').encode(), "headers.a: must be text"),
        ((HTTP % '{"method": 1}').encode(), "attributes.request.http.method: must be text"),
        ((HTTP % '{"path": "\\ud800"}').encode(), "path: is no UTF-8"),
        ((HTTP % '{"header_map": {"headers": {}}}').encode(), "header_map.headers: must be a list"),
        ((HTTP % '{"headerMap": {"headers": [1]}}').encode(), "header_map.headers[0]: must be an object"),
        ((HTTP % '{"headerMap": {"headers": [{"key": 1}]}}').encode(), "headers[0].key: must be text"),
        ((HTTP % '{"headerMap": {"headers": [{"rawValue": "%"}]}}').encode(), "raw_value: must be base64"),
        (b"\x01\0\0\0\x02\x0a\x00", "compressed gRPC message"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, data: bytes, says: str) -> None:
    result = explain(tmp_path, data)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "captured: " in result.stderr


def test_fields_that_are_not_read_are_passed_over() -> None:
    # What policy engines and newer proxies add beside the fields that count.
    written = {
        "attributes": {
            "source": {"address": {"pipe": {"path": "/x"}}, "service": "s", "labels": {}, "certificate": ""},
            "request": {"http": {"body": "b", "rawBody": "", "query": "", "fragment": ""}, "time": None},
            "tlsSession": {"sni": "x"},
            "routeMetadataContext": {},
        },
        "parsed_path": ["a"],
    }
    assert read_message(json.dumps(written).encode())


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(text_of({"gateways": {"g": gateway()}}), encoding="utf-8")
    for name in ("missing", "."):
        argv = ["explain", "--config", str(tmp_path / "e.yaml"), "--check-request", str(tmp_path / name)]
        result = CliRunner().invoke(main, argv)
        assert (result.exit_code, "cannot be read" in result.stderr) == (2, True)


def test_no_secret_of_a_captured_request_is_shown(tmp_path: Path) -> None:
    pairs = [*PAIRS[1:], ("cookie", "s3cret"), ("authorization", "Bearer s3cret"), ("x-user", "s3cret")]
    for message in (check_request(pairs, path="/?t=s3cret"), check_request(pairs, form="map", peer="10.9.9.9")):
        for data in (message, as_json(message, camel=True), as_json(message, camel=True)[:-40]):
            assert "s3cret" not in explain(tmp_path, data).output


@bounded
@given(data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_make_it_fall_over(data: bytes) -> None:
    with contextlib.suppress(CapturedError):
        read_message(data)


@bounded
@given(
    found=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "attributes",
                        "source",
                        "request",
                        "http",
                        "headers",
                        "headerMap",
                        "key",
                        "rawValue",
                        "address",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_makes_it_fall_over(found: Any) -> None:
    with contextlib.suppress(CapturedError):
        read_message(json.dumps({"attributes": found}).encode())
