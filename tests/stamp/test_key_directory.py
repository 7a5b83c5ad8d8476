"""The directory of keys: who may read it, what is refused, what survives a fault, and two processes at once."""

import json
import os
import threading
from pathlib import Path

import pytest

from extauthz.stamp import keyfile, keys
from extauthz.stamp.keyfile import KeyDirectoryError
from extauthz.stamp.keys import KeyDirectory
from extauthz.stamp.keyset import Schedule
from stamp.clock import NOW, Clock


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    assert keys.generate(path, "ES256", now=NOW) is not None
    return path


def only_file(directory: Path) -> Path:
    [path] = directory.iterdir()
    return path


def edit(path: Path, **changes: object) -> None:
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))


def test_a_new_key_can_be_read_by_its_owner_alone(directory: Path) -> None:
    assert only_file(directory).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_wide_umask_does_not_widen_a_key(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.generate(tmp_path / "keys", "EdDSA", now=NOW)
    finally:
        os.umask(before)
    assert only_file(tmp_path / "keys").stat().st_mode & 0o777 == 0o600


def test_generate_leaves_a_key_that_is_there_alone(directory: Path) -> None:
    before = only_file(directory).read_bytes()
    assert keys.generate(directory, "ES256") is None
    assert only_file(directory).read_bytes() == before


def test_two_processes_that_generate_at_once_make_one_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    start = threading.Barrier(4)
    made: list[object] = []

    def generate() -> None:
        start.wait()
        made.append(keys.generate(path, "ES256"))

    threads = [threading.Thread(target=generate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys.load(path).keys) == 1
    assert sum(key is not None for key in made) == 1
    assert [name.name for name in path.iterdir()] == ["key-000001.jwk"]


def test_a_written_key_comes_back(directory: Path) -> None:
    [key] = keys.load(directory).keys
    document = json.loads(only_file(directory).read_text())
    assert (key.kid, key.algorithm, key.created_at, key.activates_at) == (document["kid"], "ES256", NOW, NOW)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o601, 0o666])
def test_a_key_that_everyone_can_use_is_refused(directory: Path, mode: int) -> None:
    only_file(directory).chmod(mode)
    with pytest.raises(KeyDirectoryError, match=r"key-000001\.jwk.*chmod 600"):
        KeyDirectory(directory)


def test_a_group_readable_key_as_kubernetes_mounts_it_is_used_and_reported(directory: Path) -> None:
    only_file(directory).chmod(0o440)
    loaded = KeyDirectory(directory)
    assert loaded.keys.keys[0].group_readable
    assert "0440" in loaded.warnings()[0]


def test_no_key_names_the_command_that_makes_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(KeyDirectoryError, match="extauthz keys generate --keys"):
            KeyDirectory(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b"[" * 3000,
        b'{"created_at": 1, "activates_at": 1}',
        b'{"created_at": 1, "activates_at": 1, "kty": "oct", "k": "AAAA"}',
        b'{"created_at": 1, "activates_at": 1, "kty": "EC", "crv": "P-256", "x": 5, "y": [], "d": {}}',
        b'{"created_at": 1, "activates_at": 1, "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}',
        b'{"created_at": 1, "activates_at": 1, "kty": "EC", "crv": "P-521"}',
        b'{"created_at": 1, "activates_at": 1, "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "S3CR3T"}',
        b'{"x": "' + b"A" * 5000 + b'"}',
        b"\xff\xfe",
    ],
)
def test_a_broken_key_file_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jwk"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyDirectoryError, match=r"bad\.jwk") as raised:
        keys.load(tmp_path)
    assert "S3CR3T" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "changes",
    [
        {"kid": "x" * 43},
        {"alg": "EdDSA"},
        {"activates_at": None},
        {"activates_at": "soon"},
        {"activates_at": True},
        {"activates_at": 10**15},
        {"created_at": -1},
        {"d": None},
        {"d": "AAAA"},
        {"kty": "OKP"},
    ],
)
def test_an_edited_key_file_is_refused(directory: Path, changes: dict[str, object]) -> None:
    edit(only_file(directory), **changes)
    with pytest.raises(KeyDirectoryError, match=r"key-000001\.jwk"):
        keys.load(directory)


def test_an_ed25519_public_part_that_is_not_the_private_ones_is_refused(tmp_path: Path) -> None:
    keys.generate(tmp_path / "a", "EdDSA")
    keys.generate(tmp_path / "b", "EdDSA")
    other = json.loads(only_file(tmp_path / "b").read_text())
    edit(only_file(tmp_path / "a"), x=other["x"], kid=other["kid"])
    with pytest.raises(KeyDirectoryError, match="cannot be used"):
        keys.load(tmp_path / "a")


def test_a_pipe_or_directory_named_as_a_key_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jwk", 0o600)
    with pytest.raises(KeyDirectoryError, match="not a file"):
        keys.load(tmp_path)
    (tmp_path / "pipe.jwk").unlink()
    (tmp_path / "folder.jwk").mkdir()
    with pytest.raises(KeyDirectoryError, match="not a file"):
        keys.load(tmp_path)


@pytest.mark.parametrize("mode", [0o1777, 0o770, 0o2775])
def test_a_key_put_by_a_stranger_into_an_open_directory_is_refused(directory: Path, mode: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("changing a file's owner takes root")
    os.chown(only_file(directory), 12345, 12345)
    keys.load(directory)  # nobody else could have put it there
    directory.chmod(mode)
    with pytest.raises(KeyDirectoryError, match="belongs to user 12345"):
        keys.load(directory)


@pytest.mark.parametrize(("mode", "who"), [(0o770, "the group"), (0o1777, "everyone")])
def test_a_directory_in_which_others_can_put_keys_is_reported(directory: Path, mode: int, who: str) -> None:
    loaded = KeyDirectory(directory)
    assert loaded.warnings() == []
    directory.chmod(mode)
    assert f"{who} can put keys here (mode {mode:04o})" in loaded.warnings()[0]


def test_a_copy_of_a_key_is_refused(directory: Path) -> None:
    copy = directory / "copy.jwk"
    copy.write_bytes(only_file(directory).read_bytes())
    copy.chmod(0o600)
    with pytest.raises(KeyDirectoryError, match="same key"):
        keys.load(directory)


def test_other_files_are_ignored_and_told(directory: Path) -> None:
    (directory / "README").write_text("ours")
    (directory / ".half.jwk").write_text("being written")
    loaded = KeyDirectory(directory)
    assert loaded.keys.ignored == ("README",)
    assert any("README" in warning for warning in loaded.warnings())


def test_kubernetes_symlinks_are_followed_and_their_swap_is_seen(tmp_path: Path) -> None:
    for version in ("..v1", "..v2"):
        keys.generate(tmp_path / version, "ES256", now=NOW)
        only_file(tmp_path / version).chmod(0o440)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "key-000001.jwk").symlink_to("..data/key-000001.jwk")
    loaded = KeyDirectory(tmp_path)
    before = loaded.keys.keys[0].kid
    assert loaded.refresh() is False
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert loaded.refresh() is True
    assert loaded.keys.keys[0].kid != before


def test_a_rotation_waits_until_every_verifier_knows_the_key(directory: Path) -> None:
    key = keys.rotate(directory, now=NOW + 1000)
    assert key.activates_at == NOW + 1000 + Schedule().publication
    loaded = keys.load(directory)
    assert loaded.active(NOW + 1000) is not None
    assert [state for _, state in loaded.states(NOW + 1000)] == ["active", "next"]
    assert len(loaded.published(NOW + 1000)) == 2


def test_a_second_rotation_waits_for_the_first(directory: Path) -> None:
    keys.rotate(directory, now=NOW)
    with pytest.raises(KeyDirectoryError, match="next key is there already"):
        keys.rotate(directory, now=NOW + 10)
    keys.rotate(directory, now=NOW + 301)


AT_ONCE = Schedule(publication=0)


def active_kid(directory: Path, now: float) -> str:
    key = keys.load(directory).active(now)
    assert key is not None
    return key.kid


def test_a_leaked_key_can_be_replaced_at_once(directory: Path) -> None:
    urgent = keys.rotate(directory, schedule=AT_ONCE, now=NOW + 10)
    assert active_kid(directory, NOW + 10) == urgent.kid


def test_a_key_made_in_the_second_of_the_last_one_still_signs_after_it(tmp_path: Path) -> None:
    for number in range(50):  # where the order hung on the kid it was wrong every other time
        path = tmp_path / str(number)
        keys.generate(path, "EdDSA", now=NOW)
        urgent = keys.rotate(path, schedule=AT_ONCE, now=NOW + 0.5)
        assert active_kid(path, NOW + 1) == urgent.kid
        assert keys.prune(path, AT_ONCE, now=NOW + 10_000) == ["key-000001.jwk"]


@pytest.mark.parametrize("publication", [0, 3, 300])
def test_a_rotation_on_a_host_5_s_late_makes_a_key_that_signs_after_the_last(directory: Path, publication: int) -> None:
    key = keys.rotate(directory, schedule=Schedule(publication=publication), now=NOW - 5)
    assert key.activates_at > NOW
    assert keys.load(directory).keys[-1].kid == key.kid
    assert active_kid(directory, key.activates_at) == key.kid


@pytest.mark.parametrize("publication", [0, 300])
def test_a_rotation_on_a_host_400_s_late_is_refused(directory: Path, publication: int) -> None:
    with pytest.raises(KeyDirectoryError, match=r"key-000001\.jwk: the clock of this host is 400 s behind"):
        keys.rotate(directory, schedule=Schedule(publication=publication), now=NOW - 400)
    assert only_file(directory).name == "key-000001.jwk"


def test_no_key_is_put_before_one_that_waits_and_the_cure_for_a_leak_is_told(directory: Path) -> None:
    waits = keys.rotate(directory, now=NOW)
    with pytest.raises(KeyDirectoryError, match=r"If the key in key-000001\.jwk leaked, delete that file"):
        keys.rotate(directory, schedule=AT_ONCE, now=NOW + 10)
    (directory / "key-000001.jwk").unlink()
    assert active_kid(directory, NOW + 10) == waits.kid


def test_a_rotation_may_change_the_algorithm(directory: Path) -> None:
    assert keys.rotate(directory, "EdDSA", now=NOW).algorithm == "EdDSA"
    assert keys.rotate(directory, now=NOW + 301).algorithm == "EdDSA"


def test_rotating_nothing_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(KeyDirectoryError, match="extauthz keys generate"):
        keys.rotate(tmp_path)


def test_of_two_rotations_at_once_one_says_so(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = keyfile.new_key("ES256", created_at=NOW, activates_at=NOW + 300)
    made = keyfile.new_key

    def slow(*args: object, **times: int) -> object:
        keyfile.write_key(directory / "key-000002.jwk", other)
        return made(args[0], **times)  # type: ignore[arg-type]

    monkeypatch.setattr(keys, "new_key", slow)
    with pytest.raises(KeyDirectoryError, match="came first"):
        keys.rotate(directory, now=NOW)
    assert {key.kid for key in keys.load(directory).keys} >= {other.kid}
    assert sorted(path.name for path in directory.iterdir()) == ["key-000001.jwk", "key-000002.jwk"]


def test_prune_deletes_retired_keys_only(directory: Path) -> None:
    keys.rotate(directory, now=NOW)
    active_at = NOW + Schedule().publication
    assert keys.prune(directory, now=active_at + Schedule().withdrawal - 1) == []
    assert keys.prune(directory, now=active_at + Schedule().withdrawal) == ["key-000001.jwk"]
    assert only_file(directory).name == "key-000002.jwk"
    assert keys.rotate(directory, now=NOW + 10_000)
    assert (directory / "key-000003.jwk").exists()


def test_too_many_keys_are_refused_and_can_be_pruned(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEY_FILES", 2)
    keys.rotate(directory, now=NOW)
    with pytest.raises(KeyDirectoryError, match="--prune"):
        keys.rotate(directory, now=NOW + 10_000)
    monkeypatch.setattr(keys, "MAX_KEY_FILES", 1)
    with pytest.raises(KeyDirectoryError, match="--prune"):
        keys.load(directory)
    assert keys.prune(directory, now=NOW + 10_000) == ["key-000001.jwk"]
    keys.load(directory)


def test_the_service_sees_a_rotation_by_itself(directory: Path) -> None:
    loaded = KeyDirectory(directory, clock=Clock())
    before = loaded.keys
    assert loaded.refresh() is False
    assert loaded.keys is before
    etag = loaded.jwks().etag
    keys.rotate(directory, now=NOW)
    assert loaded.refresh() is True
    assert len(loaded.keys.keys) == 2
    assert loaded.jwks().etag != etag


def test_the_last_good_keys_sign_on_while_the_directory_is_broken(directory: Path) -> None:
    loaded = KeyDirectory(directory)
    good = loaded.keys
    bad = directory / "key-000002.jwk"
    bad.write_text("{")
    bad.chmod(0o600)
    assert loaded.refresh() is False
    assert loaded.keys is good
    assert loaded.fault is not None
    assert "key-000002.jwk" in loaded.fault
    bad.unlink()
    assert loaded.refresh() is True
    assert loaded.fault is None


def test_the_last_good_keys_sign_on_while_the_directory_is_gone(directory: Path) -> None:
    loaded = KeyDirectory(directory)
    directory.rename(directory.with_name("away"))
    assert loaded.refresh() is False
    assert loaded.fault is not None
    assert loaded.keys.active(NOW) is not None
    directory.with_name("away").rename(directory)
    assert loaded.refresh() is True


def test_a_key_whose_mode_is_opened_to_all_is_noticed(directory: Path) -> None:
    loaded = KeyDirectory(directory)
    only_file(directory).chmod(0o644)
    assert loaded.refresh() is False
    assert loaded.fault is not None


def test_a_key_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(KeyDirectoryError, match="cannot"):
        keys.generate(blocked / "keys", "ES256")
    with pytest.raises(KeyDirectoryError, match="cannot"):
        keys.generate(blocked, "ES256")


def test_no_half_written_key_is_left_behind(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyDirectoryError, match="No space left"):
        keys.rotate(directory, now=NOW)
    assert only_file(directory).name == "key-000001.jwk"
