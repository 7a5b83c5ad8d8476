"""White space, blanks and names, held to what JavaScript and HTTP mean by them."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from cases.oracle import SPACE
from cases.oracle import blank as plainly_blank
from cases.oracle import trimmed as plainly_trimmed
from extauthz.core.text import all_plain, canonical, fold, has_control, is_blank, trim

_EVERY_CHARACTER = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]


def test_white_space_is_javascripts_to_the_character() -> None:
    assert {character for character in _EVERY_CHARACTER if not trim(character)} == SPACE
    # Python's own set has others, and lacks one: a user trimmed by it would be another user.
    assert {"\u0085", "\x1c", "\ufeff"} <= {
        character for character in _EVERY_CHARACTER if bool(character.strip()) != bool(trim(character))
    }


@bounded
@given(text=st.text(st.sampled_from([*sorted(SPACE), ",", "a", "\u200b", "\u0085", "\x1f"]), max_size=12))
def test_trim_and_blank_do_as_plain_loops_do(text: str) -> None:
    assert trim(text) == plainly_trimmed(text)
    assert is_blank(text) == plainly_blank(text)


def test_only_ascii_letters_fold() -> None:
    # str.lower() makes "k" of the Kelvin sign and "i̇" of U+0130: a name no proxy strips would become one it trusts.
    changed = {character: fold(character) for character in _EVERY_CHARACTER if fold(character) != character}
    assert changed == {chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)}
    assert fold("X-To\u212aen") == "x-to\u212aen"
    assert fold("X-TOKEN") == "x-token"


def test_every_control_character_is_one() -> None:
    found = {character for character in _EVERY_CHARACTER if has_control(f"a{character}b")}
    assert found == {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}


@pytest.mark.parametrize(
    "name", ["x_authz_user", "x.authz.user", "x-authz_user", "x authz user", "x\u2010authz\u00e9user"]
)
def test_every_spelling_that_a_cgi_server_merges_is_an_alias(name: str) -> None:
    assert canonical(name) == canonical("x-authz-user")


@bounded
@given(
    names=st.lists(
        st.text("abcxyz019-", max_size=6) | st.text("abz_.\n:\u212a-", max_size=6) | st.text(max_size=4), max_size=6
    )
)
def test_quick_look_at_all_names_overlooks_no_odd_one(names: list[str]) -> None:
    together = "\n".join(("", *names))
    plain = all(character in "abcdefghijklmnopqrstuvwxyz0123456789-" for name in names for character in name)
    assert all_plain(together, len(names)) == plain
