"""YAML in all its oddity: what is no configuration is told as that, and nothing makes loading fall over."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.build import GATEWAY, text_of
from cases.generated import bounded
from extauthz.config.faults import ConfigError
from extauthz.config.load import load, loads

GOOD = text_of({"gateways": {"g": GATEWAY}})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("---\n", "mapping of keys"),
        ("- a\n- b\n", "mapping of keys"),
        ("just text", "mapping of keys"),
        ("42", "mapping of keys"),
        ("null", "mapping of keys"),
        ("{}", "gateways: is missing"),
        ("gateways: {}", "gateways: must not be empty"),
        ("gateways:\n", "gateways: must be a mapping"),
        (f"{GOOD}---\n{GOOD}", "this is no YAML: expected a single document"),
        ("gateways:\n\tg: {}\n", "line 2: this is no YAML"),
        ("gateways: {g: {}\n", "this is no YAML"),
        ("gateways: *nowhere\n", "line 1: this is no YAML: found undefined alias"),
        ("? [a, b]\n: c\n", "line 1: this is no YAML: .*unhashable"),
        ('gateways: !!python/object/apply:os.system ["true"]\n', "could not determine a constructor"),
        ("gateways: !custom {}\n", "could not determine a constructor"),
        ("a: \x00\n", "this is no YAML"),
        ("gateways: &g\n  g: *g\n", "gateways.g"),
        ("1: 2\n", "gateways: is missing"),
        ("[" * 20_000, "line 1: this is no configuration: it is nested too deeply"),
        ("gateways:\n  g: " + "[" * 200_000 + "]" * 200_000, "line 2: .* nested too deeply"),
        ("- " * 200_000, "nested too deeply"),
        ("gateways: &g\n  " + "{a: " * 200_000, "nested too deeply"),
        ('gateways: {g: {hosts: ["\\ud800"]}}', "this is no YAML"),
    ],
)
def test_what_is_no_configuration_is_told_as_that(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        loads(text)


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("gateways:\n  g: {}\n  g: {}\n", "gateways.g", 3),
        ("gateways:\n  g:\n    trustedProxies: []\n    peer: source\n    trustedProxies: [10.0.0.7]\n", "", 5),
        ("mode: enforce\ngateways: {g: {}}\nmode: shadow\n", "mode", 3),
        ("gateways:\n  g:\n    auth: {mode: trusted-proxy, trustedProxy: {allowUsers: [a], allowUsers: []}}\n", "", 3),
        ("gateways: {g: {}}\naccepted:\n- id: a\n  id: b\n", "accepted[0].id", 4),
        ('gateways: {g: {}}\n"mode": shadow\nmode: enforce\n', "mode", 3),
    ],
)
def test_key_that_stands_twice_does_not_win_silently(text: str, path: str, line: int) -> None:
    # YAML lets the last one win: an allowlist would be replaced by an empty one further down.
    with pytest.raises(ConfigError, match="a second time: keep one") as caught:
        loads(text)
    (fault,) = (fault for fault in caught.value.faults if "a second time" in fault.message)
    assert fault.line == line
    assert fault.path.startswith(path)


def test_a_key_that_stands_twice_hides_no_other_fault() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("gateways:\n  a: {trustedProxies: [], trustedProxies: [y], foo: 1}\n  b: {bar: 1}\n")
    assert [fault.path for fault in caught.value.faults] == [
        "gateways.a.trustedProxies",
        "gateways.a.trustedProxies[0]",
        "gateways.a.foo",
        "gateways.b.bar",
    ]


def test_json_is_read_as_json() -> None:
    # json.dumps writes what is beyond U+FFFF as two escapes, which YAML takes for two halves of nothing.
    rules = {"userHeader": "x-u", "allowUsers": ["\U0001f600@example.com", "\x7f"]}
    gateway = {"trustedProxies": ["10.0.0.1"], "auth": {"mode": "trusted-proxy", "trustedProxy": rules}}
    auth = loads(json.dumps({"gateways": {"g": gateway}})).settings.gateways["g"].auth
    assert auth is not None
    assert auth.trusted_proxy is not None
    assert auth.trusted_proxy.allow_users == rules["allowUsers"]


@pytest.mark.parametrize("text", ['{"gateways": {"g": {}, "g": {}}}', '{"gateways": {"g": {"peer": "\\ud83d"}}}'])
def test_json_that_no_yaml_could_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        loads(text)


def test_anchors_and_merges_are_read() -> None:
    text = """
gateways:
  first: &base
    trustedProxies: &proxies [10.0.0.7]
    auth: {mode: trusted-proxy, trustedProxy: {userHeader: x-user}}
  second: *base
  third:
    <<: *base
    trustedProxies: [10.0.0.8]
"""
    gateways = loads(text).settings.gateways
    assert gateways["first"] == gateways["second"]
    assert gateways["third"].trusted_proxies == ["10.0.0.8"]
    assert gateways["third"].auth == gateways["first"].auth


def test_value_that_yaml_reads_as_something_else_is_told_as_that() -> None:
    # In YAML 1.1 `on` is true and `1_0.0` a number: a name without quotes may be none.
    for value in ("on", "no", "~", "1.5", "0x10", "2026-09-06", "1:30"):
        with pytest.raises(ConfigError, match=r"allowUsers\[0\]: must be text"):
            loads(
                "gateways: {g: {trustedProxies: [10.0.0.7], auth: {mode: trusted-proxy, trustedProxy: "
                f"{{userHeader: x-user, allowUsers: [{value}]}}}}}}}}"
            )


def test_bomb_of_aliases_is_told_without_being_written_out() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError) as caught:
        loads("\n".join([*lines, "mode: *a11", "gateways: {g: {ruleset: *a11, hosts: *a11}}"]))
    assert len(str(caught.value)) < 10_000


def test_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert list(loads("\ufeff" + GOOD).settings.gateways) == ["g"]


def test_windows_line_ends_are_line_ends() -> None:
    with pytest.raises(ConfigError, match="line 3: mode"):
        loads("gateways:\r\n  g: {}\r\nmode: off\r\n")


def test_file_that_cannot_be_read_is_told_by_name(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"gateways: {g: {hosts: [\xe4]}}")
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(1 << 31)  # a hole, so that nothing is written
    for path, says in (
        (tmp_path / "missing.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (latin, "no UTF-8 at byte 23"),
        (huge, "larger than"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            load(path)
        assert str(path) in str(caught.value)


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
_keys = st.sampled_from(
    [
        *("gateways", "listen", "grpc", "callers", "addresses", "principals", "tls", "clientCa", "headers", "user"),
        *(
            "stamp",
            "lifetime",
            "reuse",
            "server",
            "engine",
            "mode",
            "accepted",
            "gateway",
            "g",
            "peer",
            "hosts",
            "auth",
        ),
        *(
            "trustedProxy",
            "trustedProxies",
            "userHeader",
            "allowUsers",
            "controlUi",
            "localInterfaces",
            "denial",
            "body",
        ),
    ]
)
_values = st.recursive(
    _scalars | st.sampled_from(["caller", "unix:/a", "10.0.0.7", "a.example", "shadow", "auto", "5s"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _scalars, inner, max_size=4),
    max_leaves=12,
)


@bounded
@given(data=st.dictionaries(_keys, _values, max_size=5))
def test_no_values_of_whatever_type_make_loading_fall_over(data: object) -> None:
    try:
        loads(text_of(data))
    except ConfigError as error:
        told = [fault.message for fault in error.faults]
    else:
        told = ["none"]
    assert told
    assert all(told)


@bounded
@given(text=st.text(max_size=60) | st.text("{}[]:,&*!|>-'\"\n ab#%@?~<", max_size=60))
def test_no_text_makes_loading_fall_over(text: str) -> None:
    with pytest.raises(ConfigError):
        loads(text)
