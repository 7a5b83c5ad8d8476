"""docs/assertions.md: every example loads and is complete, and the tables are the code's."""

import re
from pathlib import Path

import pytest

from extauthz.assertion import memory, sources, wanted
from extauthz.assertion.assertions import FIRST_READ_SECONDS
from extauthz.assertion.presets import PRESETS
from extauthz.assertion.rules import MAX_SOURCES, MAX_TOKEN_BYTES
from extauthz.config.assertions import filled_model
from extauthz.config.load import loads
from extauthz.core.reasons import REASONS
from extauthz.gateway.keyset import MAX_JWKS_BYTES, MAX_JWKS_KEYS
from extauthz.gateway.sources import FETCH_SECONDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "assertions.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: "".join(re.findall(r"preset: ([\w-]+)", text)))
def test_the_examples_load_and_are_complete(text: str) -> None:
    loaded = loads(text)
    assert not loaded.incomplete
    (gateway,) = loaded.settings.gateways.values()
    assert gateway.auth is not None
    assert gateway.auth.trusted_proxy is not None
    assert gateway.auth.trusted_proxy.assertion is not None
    assert filled_model(gateway.auth.trusted_proxy.assertion).jwks.startswith("https://")


def test_every_preset_has_its_example_and_its_row() -> None:
    assert [found for text in EXAMPLES for found in re.findall(r"preset: ([\w-]+)", text)] == list(PRESETS)
    rows = [line for line in PAGE.splitlines() if re.match(r"\| `[a-z0-9-]+` \|", line)]
    assert rows == [
        f"| `{name}` | `{preset.header}` | {', '.join(preset.algorithms)} | {_code(preset.issuer)} | "
        f"{_code(preset.jwks)} | `{preset.user_claim}` | {preset.max_age} |"
        for name, preset in PRESETS.items()
    ]


def _code(text: str) -> str:
    return f"`{text}`" if text else "yours to write"


def test_the_limits_are_the_codes() -> None:
    for text in (
        f"at most {MAX_TOKEN_BYTES} bytes",
        f"{memory.MAX_REMEMBERED_TOKENS} tokens are remembered, {memory.MAX_REMEMBERED_BYTES // 2**20} MiB at most",
        f"every {sources.REFRESH_SECONDS:.0f} s; a file every {sources.FILE_REFRESH_SECONDS:.0f} s",
        f"| every {sources.RETRY_SECONDS:.0f} s |",
        f"once in {sources.UNKNOWN_KID_SECONDS:.0f} s at most",
        f"{FETCH_SECONDS:.0f} s, {MAX_JWKS_BYTES // 1024} KiB, {MAX_JWKS_KEYS} keys",
        f"| {MAX_SOURCES}; gateways",
        f"{wanted.KIDS_PER_ROUND} unknown keys at most, and the known ones that were not read for",
        f"{sources.REFRESH_SECONDS:.0f} s; {sources.ROUND_SECONDS:.0f} s in all",
        f"once in {sources.KEY_BY_KID_SECONDS:.0f} s at most",
        f"again for {wanted.FAILED_KID_SECONDS:.0f} s; after a timeout, 429 or 5xx, for {sources.RETRY_SECONDS:.0f} s",
        f"| {wanted.MAX_WANTED_KIDS}; of more",
        f"| {sources.MAX_KEYS_BY_KID}; each counts",
        f"waits {FIRST_READ_SECONDS:.0f} s at most",
    ):
        assert text in PAGE, text


def test_its_reasons_are_reasons() -> None:
    told = set(re.findall(r"`_([a-z_]+)`", PAGE)) | set(re.findall(r"`trusted_proxy_assertion_([a-z_]+)`", PAGE))
    assert {f"trusted_proxy_assertion_{name}" for name in told} == {code for code in REASONS if "_assertion_" in code}


def test_links_lead_somewhere() -> None:
    for file in re.findall(r"\]\(([\w.-]+\.md)\)", PAGE):
        assert (DOCS / file).exists(), file
