"""Files of the common kind, read in one pass: what comes of it is what PyYAML's own way makes of them, or nothing."""

from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.config.document import Document
from extauthz.config.plain_yaml import MOST_LEVELS, Loader, UncommonError, read_plain

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.dates()
    | st.sampled_from(["yes", "No", "~", "", "1_0", "0x1F", "0o7", "1e3", ".inf", "12:30:45", "2001-12-14", "<<", "="])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@settings(bounded, max_examples=300)
@given(VALUES, st.sampled_from([None, True, False]), st.sampled_from([None, "'", '"', "|", ">"]))
def test_what_is_written_as_yaml_is_read_as_ever(value: Any, flow: bool | None, style: str | None) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, default_style=style)
    with suppress(UncommonError):
        assert repr(read_plain(text)) == repr(yaml.load(text, Loader))  # noqa: S506 - libyaml's safe one


@settings(bounded, max_examples=500)
@example("a: <<")
@example("a: =")
@example("- 2001-99-99")
@example("a: 1\na: 2")
@example("? [a]\n: 1")
@example("{a: 1, 'a': 2}")
@given(st.text(alphabet="ab:-[]{},'\"\n #&*!<|>~?0123.", max_size=40))
def test_whatever_is_read_is_what_the_safe_loader_reads(text: str) -> None:
    try:
        data = read_plain(text)
    except (UncommonError, yaml.YAMLError, ValueError):
        return
    # As text: to Python, true is 1, and 1 is 1.0.
    assert repr(data) == repr(yaml.load(text, Loader))  # noqa: S506 - libyaml's safe one


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "{a: 1, 'a': 2}",
        "1: a",
        "a: &x 1",
        "a: &x [1]\nb: *x",
        "base: &b {a: 1}\nc: {<<: *b}",
        "a: !!str 1",
        "a: !!set {b}",
        "? [a]\n: 1",
        "a: 1\n---\nb: 2",
        "",
        "[" * (MOST_LEVELS + 2) + "]" * (MOST_LEVELS + 2),
    ],
)
def test_what_is_uncommon_is_left_to_the_way_that_tells_what_is_wrong(text: str) -> None:
    with pytest.raises(UncommonError):
        read_plain(text)


def test_lines_are_told_of_a_file_that_was_read_in_one_pass() -> None:
    document = Document("f", "a:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert document.data == {"a": {"b": 1, "c": ["x", "y"]}}
    assert document.line(["a", "c", 1]) == 5
    assert document.line(["a", "unknown"]) == 2
