"""When the file is read again: once it has come to rest, whatever way it was replaced; and what comes of a bad one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cases.build import gateway, text_of
from extauthz.config import load as reading
from extauthz.config.load import Loaded, load
from extauthz.reload import RefusedError, Reloader

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = text_of({"gateways": {"g": gateway()}})
OTHER = text_of({"gateways": {"g": gateway(), "other": gateway()}})


class World:
    """A file, what reads it, and what has been put into force."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.applied: list[Loaded] = []
        self.reads = 0
        self.refuse = ""
        self.while_reading: Callable[[], object] | None = None
        if not file.exists():
            file.write_text(GOOD, encoding="utf-8")
        self.reloader = Reloader(file, load(file), self._read, self._apply, clock=lambda: 1_000.0)

    def _read(self) -> Loaded:
        self.reads += 1
        loaded = load(self.file)
        if self.while_reading is not None:
            self.while_reading()
            self.while_reading = None
        return loaded

    def _apply(self, loaded: Loaded) -> None:
        if self.refuse:
            raise RefusedError(self.refuse)
        self.applied.append(loaded)

    def write(self, text: str) -> None:
        """Write the file in place, with a time of its own."""
        before = self.file.stat().st_mtime_ns
        self.file.write_text(text, encoding="utf-8")
        os.utime(self.file, ns=(before + 1, before + 1))

    def look(self, times: int = 2) -> None:
        """Look as often as it takes to see that a file has come to rest."""
        for _ in range(times):
            self.reloader.look()

    @property
    def gateways(self) -> list[str]:
        """What is in force."""
        return list(self.reloader.status.loaded.settings.gateways)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "extauthz.yaml")


def test_untouched_file_is_not_read(world: World) -> None:
    world.look(5)
    assert world.reads == 0
    assert world.reloader.status.attempted is None


def test_file_that_changes_while_the_service_starts_takes_effect(world: World) -> None:
    # Between its reading and the first look at it lies a start: imports, a key that is made, doors.
    loaded = load(world.file)
    world.write(OTHER)
    world.reloader = Reloader(world.file, loaded, world._read, world._apply)
    world.look()
    assert world.gateways == ["g", "other"]


def test_file_that_changes_while_it_is_first_read_takes_effect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = reading.loads

    def overtaken(*text: Any, **options: Any) -> Loaded:
        world.write(OTHER)
        return read(*text, **options)

    with monkeypatch.context() as patched:
        patched.setattr(reading, "loads", overtaken)
        loaded = load(world.file)
    assert list(loaded.settings.gateways) == ["g"]
    world.reloader = Reloader(world.file, loaded, world._read, world._apply)
    world.look()
    assert world.gateways == ["g", "other"]


def test_changed_file_takes_effect(world: World) -> None:
    world.write(OTHER)
    world.look()
    status = world.reloader.status
    assert world.gateways == ["g", "other"]
    assert (status.succeeded, status.failed, status.faults, status.attempted) == (1, 0, (), 1_000.0)
    world.look(5)
    assert world.reads == 1


def test_half_written_file_is_not_read_a_list_cut_off_would_let_in_more(world: World) -> None:
    # One write after the other: at every look it is another file, and none of these is read.
    for size in range(10, len(OTHER), len(OTHER) // 7):
        world.write(OTHER[:size])
        world.look(1)
    assert world.reads == 0
    world.write(OTHER)
    world.look()
    assert world.gateways == ["g", "other"]
    assert world.reads == 1


@pytest.mark.parametrize("key", ["allowUsers", "requiredHeaders"])
def test_file_cut_off_before_a_list_that_keeps_people_out_is_refused(world: World, key: str) -> None:
    # It came to rest like that: whoever wrote it stalled, or lost a line. Without the list everybody may enter.
    cut = gateway()
    del cut["auth"]["trustedProxy"][key]
    world.write(text_of({"gateways": {"g": cut}}))
    world.look()
    assert world.applied == []
    (fault,) = world.reloader.status.faults
    assert f"gateways.g.auth.trustedProxy.{key} is not there any more" in fault
    # Written out, it is meant.
    world.write(text_of({"gateways": {"g": gateway({key: []})}}))
    world.look()
    assert len(world.applied) == 1


def test_file_cut_off_before_the_origins_that_may_ask_is_refused(world: World) -> None:
    # Without the list any page could use a visitor's session. In OpenClaw's rules none can: there nothing is refused.
    world.write(text_of({"gateways": {"g": gateway(controlUi={"allowedOrigins": ["https://g.example.com"]})}}))
    world.look()
    world.write(text_of({"gateways": {"g": gateway()}}))
    world.look()
    assert len(world.applied) == 1
    (fault,) = world.reloader.status.faults
    assert "gateways.g.controlUi.allowedOrigins is not there any more" in fault
    world.write(text_of({"gateways": {"g": gateway(ruleset="openclaw-2026.9")}}))
    world.look()
    assert len(world.applied) == 2


@pytest.mark.parametrize(
    ("key", "sections", "keys"),
    [
        ("callers", {}, {"callers": {"addresses": ["127.0.0.9"]}}),
        ("ruleset", {}, {"ruleset": "openclaw-2026.9"}),
        ("mode", {"mode": "shadow"}, {"mode": "enforce"}),
        ("auth.trustedProxy.allowLoopback", {}, {"trusted_proxy": {"allowLoopback": False}}),
    ],
)
def test_key_that_kept_somebody_out_and_is_lost_is_refused(
    world: World, key: str, sections: dict[str, Any], keys: dict[str, Any]
) -> None:
    strict = gateway(keys.pop("trusted_proxy", None), **keys)
    world.write(text_of({**sections, "gateways": {"g": strict}}))
    world.look()
    world.write(text_of({**sections, "gateways": {"g": gateway()}}))
    world.look()
    assert len(world.applied) == 1
    (fault,) = world.reloader.status.faults
    assert f"gateways.g.{key} is not there any more" in fault


def test_file_that_changes_while_it_is_read_is_read_again_before_it_counts(world: World) -> None:
    world.write(GOOD.replace("nick", "nina"))
    world.while_reading = lambda: world.write(OTHER)
    world.look()
    assert world.applied == []
    world.look()
    assert world.gateways == ["g", "other"]


def test_file_that_is_replaced_by_renaming_takes_effect(world: World) -> None:
    new = world.file.with_suffix(".new")
    new.write_text(OTHER, encoding="utf-8")
    new.replace(world.file)
    world.look()
    assert world.gateways == ["g", "other"]


def test_config_map_whose_symlink_is_swapped_takes_effect(tmp_path: Path) -> None:
    # As kubelet lays it out: extauthz.yaml -> ..data/extauthz.yaml, ..data -> ..2026_11_22_1, swapped by one rename.
    def version(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "extauthz.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")

    version("..2026_11_22_1", GOOD)
    (tmp_path / "extauthz.yaml").symlink_to("..data/extauthz.yaml")
    world = World(tmp_path / "extauthz.yaml")
    version("..2026_11_22_2", OTHER)
    world.look()
    assert world.gateways == ["g", "other"]


def test_bad_file_changes_nothing_and_every_fault_is_told(world: World) -> None:
    world.write(OTHER)
    world.look()
    world.write(text_of({"gateways": {"g": gateway(trustedProxies=["*"], rulset="standard")}}))
    world.look()
    status = world.reloader.status
    assert world.gateways == ["g", "other"]
    assert (status.succeeded, status.failed) == (1, 1)
    assert any("gateways.g.trustedProxies[0]" in fault for fault in status.faults)
    assert any("gateways.g.rulset" in fault and "ruleset" in fault for fault in status.faults)
    # It is told once, not at every look; and the next good one is taken.
    world.look(5)
    assert world.reloader.status.failed == 1
    world.write(GOOD)
    world.look()
    assert world.gateways == ["g"]
    assert world.reloader.status.faults == ()
    assert (world.reloader.status.succeeded, world.reloader.status.failed) == (2, 1)


def test_file_that_is_gone_changes_nothing(world: World) -> None:
    world.file.unlink()
    world.look()
    assert world.gateways == ["g"]
    assert "cannot be read" in world.reloader.status.faults[0]
    world.file.write_text(OTHER, encoding="utf-8")
    world.look()
    assert world.gateways == ["g", "other"]


def test_configuration_that_cannot_take_effect_changes_nothing(world: World) -> None:
    world.refuse = "keys: no key to sign with"
    world.write(OTHER)
    world.look()
    assert world.gateways == ["g"]
    assert world.reloader.status.faults == ("keys: no key to sign with",)


def test_what_was_not_foreseen_leaves_the_service_as_it_is(world: World) -> None:
    def fails() -> None:
        raise RuntimeError("secret-in-an-exception")

    world.while_reading = fails
    world.write(OTHER)
    world.look()
    assert world.gateways == ["g"]
    assert world.reloader.status.faults == ("unforeseen: RuntimeError",)


def test_asked_for_it_is_read_at_once(world: World) -> None:
    world.write(OTHER)
    assert world.reloader.reload()
    assert world.gateways == ["g", "other"]


def test_what_wants_a_restart_is_named_and_the_rest_takes_effect(world: World) -> None:
    sections = {
        "listen": {"grpc": "127.0.0.1:9999"},
        "server": {"maxConcurrent": 5},
        "limits": {"messageBytes": 2048, "headers": 50},
        "mode": "shadow",
    }
    world.write(text_of({**sections, "gateways": {"g": gateway(), "other": gateway()}}))
    world.look()
    status = world.reloader.status
    assert world.gateways == ["g", "other"]
    assert status.waiting == ("listen", "server", "limits.messageBytes")
    # Put back, there is nothing to wait for.
    world.write(OTHER)
    world.look()
    assert world.reloader.status.waiting == ()
