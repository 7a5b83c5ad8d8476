"""docs/console.md: its configuration loads, its numbers are those of the code, its paths are there."""

import re
from pathlib import Path

from extauthz.config.load import loads
from extauthz.doors import admin, http_bodies, http_limits
from extauthz.doors.token_file import SHORTEST_TOKEN_CHARACTERS
from extauthz.telemetry import frequent, history, recent

PAGE = (Path(__file__).parents[2] / "docs" / "console.md").read_text(encoding="utf-8")


def test_the_configuration_loads() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    loaded = loads(example)
    assert (loaded.incomplete, loaded.notices) == ((), ())


def test_the_numbers_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"{admin.MOST_CONNECTIONS} connections, a quarter of them for other hosts" in text
    assert http_limits.STRANGERS_SHARE == http_limits.STRANGER_SHARE == 4
    assert f"{admin.HEAD_BYTES // 1024} KiB for the head" in text
    assert f"{http_bodies.BODY_BYTES // 1024} KiB and ten seconds" in text
    assert http_limits.PATIENCE.body == 10
    assert f"{recent.MOST_GIVEN} decisions an answer" in text
    assert f"The last {recent.MOST_KEPT} are kept" in text
    assert f"fewer of large ones ({recent.MOST_KEPT_BYTES // 1_048_576} MiB" in text
    assert f"at least {SHORTEST_TOKEN_CHARACTERS} characters" in text
    assert frequent.WINDOW_SECONDS == 1800
    assert (history.SECONDS_KEPT, history.MINUTES_KEPT) == (300, 360)


def test_the_default_address_is_the_one_told() -> None:
    assert loads("gateways: {g: {}}").settings.listen.admin == ["127.0.0.1:9193"]
    assert "listens at `127.0.0.1:9193`" in PAGE
