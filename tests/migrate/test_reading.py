"""openclaw.json as OpenClaw reads it: JSON5, includes, references. What is refused names its place, and no secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from extauthz.openclaw import OpenClawError, OpenClawFile, read
from extauthz.openclaw.file import DEEPEST_INCLUDE, LARGEST_FILE_BYTES, MOST_INCLUDED_FILES
from extauthz.openclaw.syntax import LARGEST_JSON5_BYTES

SECRET = "hunter2-s3cr3t"


def written(folder: Path, text: str | bytes, name: str = "openclaw.json") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def gateway(folder: Path, text: str) -> dict[str, Any]:
    return read(written(folder, text)).gateway


def refusal(file: Path) -> str:
    with pytest.raises(OpenClawError) as refused:
        read(file)
    assert SECRET not in str(refused.value)
    assert str(file.parent) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"gateway": {"port": 18789, "bind": "lan"}}',
        "{gateway: {port: 18789, bind: 'lan'}}",
        "{gateway: {port: 18789, bind: 'lan',},}",
        "// one\n{/* two */ gateway: {port: 0x4965, bind: 'la\\\nn', /* {{ */}}",
        '\ufeff{"gateway": {"port": 18789, "bind": "lan"}}',
        "{gateway: {port: +18789, \"bind\": 'lan'}} // end",
        '{"gateway": {"port": 1, "port": 18789, "bind": "lan"}}',
    ],
)
def test_every_way_to_write_it(text: str, tmp_path: Path) -> None:
    assert gateway(tmp_path, text) == {"port": 18789, "bind": "lan"}


def test_references_to_the_environment_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCLAW_GATEWAY_TOKEN", SECRET)
    found = gateway(tmp_path, "{gateway: {auth: {token: '${OPENCLAW_GATEWAY_TOKEN}'}}}")
    assert found == {"auth": {"token": "${OPENCLAW_GATEWAY_TOKEN}"}}


def test_the_rest_of_the_file_is_there_too(tmp_path: Path) -> None:
    found = read(written(tmp_path, "{meta: {lastTouchedVersion: '2026.9.6'}, gateway: {}}"))
    assert found == OpenClawFile(
        tmp_path / "openclaw.json", {"meta": {"lastTouchedVersion": "2026.9.6"}, "gateway": {}}, {}
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ": is empty"),
        (f"{{gateway: {{token: '{SECRET}' bind: 'lan'}}}}", "line 1, column 36: is no JSON5"),
        (f"{{gateway: {{\n  token: {SECRET},\n}}}}", "line 2, column 10: is no JSON5"),
        (f"{{\n gateway: {{token: '{SECRET}'", "line 2, column 35: is no JSON5: it ends too early"),
        (f"{{gateway: {{token: '{SECRET}\n'}}}}", "line 1, column 34: is no JSON5"),
        ("{gateway: {token: ${TOKEN}}}", "stands in quotes"),
        (f"'{SECRET}'", "is no configuration of OpenClaw's"),
        ("[]", "is no configuration of OpenClaw's"),
        (f"{{agents: {{key: '{SECRET}'}}}}", "has no `gateway` block"),
        (f"{{gateway: '{SECRET}'}}", "gateway: must be an object"),
        (r'{"gateway": {"a": "\ud800"}}', "surrogates"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
        (f"{{gateway: {{a: {'9' * 5000}}}}}", "thousands of digits"),
        (b"{\n\xff}", "line 2: is no UTF-8 at byte 2"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str | bytes, told: str, tmp_path: Path) -> None:
    assert told in refusal(written(tmp_path, text))


def test_files_that_are_not_there_are_folders_or_too_large(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "openclaw.json")
    assert "cannot be read: Not a directory" in refusal(written(tmp_path, "{}", "file") / "openclaw.json")
    (tmp_path / "folder").mkdir()
    assert "is no file" in refusal(tmp_path / "folder")
    assert "larger than" in refusal(written(tmp_path, b" " * (LARGEST_FILE_BYTES + 1)))
    assert "plain JSON" in refusal(written(tmp_path, "{" + " " * LARGEST_JSON5_BYTES + "gateway: {}}"))


def test_plain_json_may_be_longer_than_json5(tmp_path: Path) -> None:
    assert gateway(tmp_path, '{"gateway": {}, "a": "' + "x" * LARGEST_JSON5_BYTES + '"}') == {}


def test_includes_are_followed_where_the_gateway_is(tmp_path: Path) -> None:
    written(tmp_path, "{port: 1, auth: {mode: 'token'}, trustedProxies: ['10.0.0.1']}", "parts/gateway.json5")
    written(tmp_path, "{auth: {$include: 'auth.json5'}}", "parts/more.json5")
    written(tmp_path, "{token: '${T}'}", "parts/auth.json5")
    found = read(
        written(
            tmp_path,
            """{agents: {$include: './not-there.json5'},
                gateway: {$include: ['./parts/gateway.json5', './parts/more.json5'], port: 2,
                          trustedProxies: ['10.0.0.2']}}""",
        )
    )
    assert found.gateway == {
        "port": 2,
        "auth": {"mode": "token", "token": "${T}"},
        "trustedProxies": ["10.0.0.1", "10.0.0.2"],
    }
    assert found.data["agents"] == {"$include": "./not-there.json5"}
    assert [file.name for file in found.included] == ["gateway.json5", "more.json5", "auth.json5"]


def test_the_root_may_include_the_gateway(tmp_path: Path) -> None:
    written(tmp_path, "{gateway: {port: 1, bind: 'lan'}}", "base.json")
    assert gateway(tmp_path, "{$include: 'base.json', gateway: {port: 2}}") == {"port": 2, "bind": "lan"}


def test_an_include_alone_may_be_a_list_of_addresses(tmp_path: Path) -> None:
    written(tmp_path, "['10.0.0.7']", "proxies.json")
    found = gateway(tmp_path, "{gateway: {trustedProxies: {$include: 'proxies.json'}}}")
    assert found == {"trustedProxies": ["10.0.0.7"]}


@pytest.mark.parametrize("name", ["../outside.json", "link.json"])
def test_an_include_cannot_leave_the_folder(name: str, tmp_path: Path) -> None:
    written(tmp_path, f"{{token: '{SECRET}'}}", "outside.json")
    file = written(tmp_path, f"{{gateway: {{$include: '{name}'}}}}", "inside/openclaw.json")
    (tmp_path / "inside" / "link.json").symlink_to(tmp_path / "outside.json")
    assert f"gateway.$include '{name}': lies outside the folder" in refusal(file)


@pytest.mark.parametrize(
    ("include", "told"),
    [
        ("'openclaw.json'", "includes itself"),
        ("'gone.json'", "gone.json: cannot be read"),
        ("7", "must be the name of a file"),
        ("['a.json', {}]", "must be the name of a file"),
        (r"'a\x00b'", "is no name of a file"),
        ("'broken.json'", "broken.json: line 1, column 9: is no JSON5"),
        ("'list.json', port: 1", "is no object"),
    ],
)
def test_bad_includes_are_told(include: str, told: str, tmp_path: Path) -> None:
    written(tmp_path, f"{{token: {SECRET}}}", "broken.json")
    written(tmp_path, "[]", "list.json")
    assert told in refusal(written(tmp_path, f"{{gateway: {{$include: {include}}}}}"))


def test_includes_are_bounded_in_depth_and_number(tmp_path: Path) -> None:
    for level in range(DEEPEST_INCLUDE + 1):
        written(tmp_path, json.dumps({"$include": f"{level + 1}.json"}), f"{level}.json")
    assert "includes deep" in refusal(written(tmp_path, '{"gateway": {"$include": "0.json"}}'))
    written(tmp_path, "{}", "empty.json")
    many = {"gateway": {"$include": ["empty.json"] * (MOST_INCLUDED_FILES + 1)}}
    assert "join some" in refusal(written(tmp_path, json.dumps(many)))
