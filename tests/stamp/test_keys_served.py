"""The keys of real `extauthz serve`: which it refuses and reports at start, and the JWKS as its HTTP door serves it."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from extauthz.stamp.keys import generate, load, rotate
from extauthz.stamp.keyset import Schedule
from support.process import wait_until
from support.service import Service, running_service

GATEWAYS = {
    "openclaw": {
        "trustedProxies": ["127.0.0.7"],
        "auth": {"mode": "trusted-proxy", "trustedProxy": {"userHeader": "x-forwarded-user"}},
    }
}


def config(**stamp: Any) -> dict[str, Any]:
    return {"stamp": {"keys": "keys", **stamp}, "gateways": GATEWAYS}


def refusal(directory: Path, **stamp: Any) -> str:
    """What `serve` says when it refuses to start."""
    path = directory / "extauthz.yaml"
    path.write_text(yaml.safe_dump(config(**stamp)))
    doors = ["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    argv = [sys.executable, "-m", "extauthz.cli", "serve", "--config", str(path), *doors]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=directory, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(service: Service, method: str = "GET", target: str = "/.well-known/jwks.json", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(service.http, timeout=30)
    try:
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Service]:
    with running_service(folder, config()) as found:
        yield found


def test_without_a_key_it_refuses_to_start_and_names_the_command(tmp_path: Path) -> None:
    said = refusal(tmp_path, generateKeys=False)
    assert f"extauthz keys generate --keys {tmp_path / 'keys'}" in said
    assert not (tmp_path / "keys").exists()


def test_a_key_that_everyone_can_read_is_refused_with_its_cure(tmp_path: Path) -> None:
    generate(tmp_path / "keys", "ES256")
    (file,) = (tmp_path / "keys").iterdir()
    file.chmod(0o644)
    assert f"chmod 600 {file}" in refusal(tmp_path)


def test_keys_of_another_algorithm_than_the_configured_are_refused(tmp_path: Path) -> None:
    generate(tmp_path / "keys", "ES256")
    assert "extauthz keys rotate --algorithm EdDSA" in refusal(tmp_path, algorithm="EdDSA")


def test_a_key_that_the_group_can_read_is_used_and_reported_at_start(tmp_path: Path) -> None:
    key = generate(tmp_path / "keys", "ES256")
    assert key is not None
    (file,) = (tmp_path / "keys").iterdir()
    file.chmod(0o440)
    with running_service(tmp_path, config(generateKeys=False)) as service:
        wait_until(lambda: key.kid in service.program.log_text(), "the line that says which key signs")
        assert f"{file}: the group can use this private key (mode 0440)" in service.program.log_text()
        assert [one["kid"] for one in json.loads(ask(service).body)["keys"]] == [key.kid]


def test_a_key_that_becomes_readable_by_everyone_is_told_of_and_the_good_ones_stay(tmp_path: Path) -> None:
    with running_service(tmp_path, config()) as service:
        before = ask(service)
        (file,) = (tmp_path / "keys").iterdir()
        file.chmod(0o644)
        wait_until(lambda: "everyone on this host can use" in service.program.log_text(), "the line about it")
        assert ask(service).body == before.body


def test_the_first_key_is_made_for_its_owner_alone_and_its_id_is_logged(service: Service, folder: Path) -> None:
    (key,) = load(folder / "keys").keys
    # It is logged when it is first looked at, which may be after the service is ready.
    wait_until(lambda: key.kid in service.program.log_text(), "the line that says which key signs")
    assert key.mode == 0o600
    assert (folder / "keys").stat().st_mode & 0o777 == 0o700


def test_the_jwks_is_for_all_and_may_be_cached(service: Service, folder: Path) -> None:
    answer = ask(service)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["etag"].startswith('"')
    (public,) = json.loads(answer.body)["keys"]
    (key,) = load(folder / "keys").keys
    assert public == key.public_jwk
    assert "d" not in public
    assert ask(service, target="/.well-known/jwks.json?cache=no").body == answer.body
    head = ask(service, "HEAD")
    assert (head.status, head.body, head.headers["etag"]) == (200, b"", answer.headers["etag"])
    assert head.headers["content-length"] == str(len(answer.body))


def test_the_jwks_is_not_sent_again_to_whoever_has_it(service: Service) -> None:
    tag = ask(service).headers["etag"]
    for wanted in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = ask(service, if_none_match=wanted)
        assert (again.status, again.body) == (304, b"")
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "public, max-age=60")
    for wanted in ('"other"', tag.strip('"'), ""):
        assert ask(service, if_none_match=wanted).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_the_jwks_can_only_be_read(service: Service, method: str) -> None:
    answer = ask(service, method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("target", ["/.well-known/", "/.well-known/jwks.json/", "/.well-known/../keys", "/keys", "/"])
def test_nothing_else_of_the_keys_is_served(service: Service, target: str) -> None:
    assert ask(service, target=target).status == 404


def test_the_next_key_is_published_at_once_and_by_another_tag(service: Service, folder: Path) -> None:
    before = ask(service)
    (first,) = json.loads(before.body)["keys"]
    new = rotate(folder / "keys", schedule=Schedule(publication=300))

    def kids() -> list[str]:
        return [key["kid"] for key in json.loads(ask(service).body)["keys"]]

    wait_until(lambda: len(kids()) == 2, "the next key in the JWKS")
    assert kids() == [first["kid"], new.kid]
    assert ask(service, if_none_match=before.headers["etag"]).status == 200
    assert new.kid not in service.program.log_text()  # it does not sign yet
