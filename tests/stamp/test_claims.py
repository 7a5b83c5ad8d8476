"""How what a stamp is bound to is written."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases.generated import bounded
from extauthz.stamp.claims import decode_segment, encode_segment, is_kid, normal_host, path_hash


@pytest.mark.parametrize(
    ("sent", "bound"),
    [
        ("Gateway.Example.COM", "gateway.example.com"),
        ("gateway.example.com:8443", "gateway.example.com"),
        ("gateway.example.com:", "gateway.example.com"),
        ("gateway.example.com.", "gateway.example.com."),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1", "[2001:db8::1"),
        ("Gateway.example.com:evil", "gateway.example.com:evil"),
        ("gateway.example.com:80:evil", "gateway.example.com:80:evil"),
        ("gateway.example.com:443, evil", "gateway.example.com:443, evil"),
        ("gateway.example.com:\u0664", "gateway.example.com:\u0664"),
        ("gateway.example.com:80\n", "gateway.example.com:80\n"),
        ("nick:secret@gateway.example.com", "nick:secret@gateway.example.com"),
        ("[2001:DB8::1]evil", "[2001:db8::1]evil"),
        ("[2001:db8::1]:evil", "[2001:db8::1]:evil"),
        ("2001:db8::1", "2001:db8::1"),
        ("KELVIN\u212a.example", "kelvin\u212a.example"),
        ("", ""),
    ],
)
def test_host_is_lower_case_without_port(sent: str, bound: str) -> None:
    assert normal_host(sent) == bound


def test_path_hash_is_of_path_and_query_as_sent() -> None:
    wanted = base64.urlsafe_b64encode(hashlib.sha256(b"/a%2Fb/../c?x=1&y").digest()).rstrip(b"=").decode()
    assert path_hash("/a%2Fb/../c?x=1&y") == wanted
    assert path_hash(b"/a%2Fb/../c?x=1&y") == wanted
    assert path_hash("/a/b/../c?x=1&y") != wanted


def test_an_empty_query_does_not_count() -> None:
    assert path_hash("/a?") == path_hash("/a") == path_hash(b"/a?")
    assert path_hash("/a??") != path_hash("/a")
    assert path_hash("/a?b?") != path_hash("/a?b")


@bounded
@given(st.binary(max_size=200))
def test_segments_come_back(data: bytes) -> None:
    assert decode_segment(encode_segment(data)) == data


@bounded
@given(st.text(alphabet="ABab01-_+/= \n", max_size=12))
def test_only_one_text_decodes_to_a_value(text: str) -> None:
    try:
        data = decode_segment(text)
    except ValueError:
        return
    assert encode_segment(data) == text


@bounded
@given(st.text(max_size=60))
def test_no_text_makes_the_bindings_fail(text: str) -> None:
    normal_host(text)
    path_hash(text)


def test_lone_surrogates_do_not_make_the_bindings_fail() -> None:
    assert path_hash("/\ud800") != path_hash("/\udc80")
    assert normal_host("\udc80A")


@pytest.mark.parametrize("kid", ["", "a" * 42, "a" * 44, "../" + "a" * 40, "a" * 42 + "\n", "a" * 43 + "\n", None, 43])
def test_what_is_no_thumbprint_is_no_kid(kid: object) -> None:
    assert not is_kid(kid)
    assert is_kid("a" * 43)
