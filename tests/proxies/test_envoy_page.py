"""docs/envoy.md: its example runs, what it quotes is in the configuration, and its timeouts are the defaults."""

import re
from pathlib import Path

from extauthz.proxies.envoy import Settings, render
from support.envoy import validate_envoy

PAGE = Path(__file__).parents[2] / "docs" / "envoy.md"


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def example() -> Settings:
    """The settings that the page's own example makes."""
    (source,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(source, "docs/envoy.md", "exec"), names)  # noqa: S102 - our own page
    settings = names["settings"]
    assert isinstance(settings, Settings)
    assert names["text"] == render(settings)
    return settings


def lines(text: str) -> list[str]:
    """The lines of a YAML text without indentation and comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_the_example_makes_a_configuration_that_envoy_accepts(tmp_path: Path) -> None:
    assert validate_envoy(render(example()), tmp_path) is None


def test_every_quoted_piece_is_in_the_configuration() -> None:
    with_balancer = Settings(routes=example().routes, extauthz=example().extauthz, proxy_protocol_from=("10.0.9.0/24",))
    over_http = Settings(routes=example().routes, extauthz=example().extauthz, ask_over="http")
    quoted = blocks("yaml")
    assert len(quoted) >= 8
    for block in quoted:
        settings = over_http if block.startswith("# over HTTP\n") else with_balancer
        assert "\n".join(lines(block)) in "\n".join(lines(render(settings))), block


def test_the_defaults_are_as_told() -> None:
    settings = example()
    page = PAGE.read_text(encoding="utf-8")
    told = {
        f"| `timeout` | {settings.timeout:g} s |",
        f"| `idle_timeout` | {settings.idle_timeout:g} s |",
        f"| `health_interval` | {settings.health_interval:g} s |",
    }
    assert {row for row in told if row not in page} == set()
