"""config/Containerfile: the rules that it keeps. An image is not built here."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "config" / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


class Line(NamedTuple):
    """One instruction, and the number of its stage; 0 is before the first."""

    stage: int
    name: str
    rest: str


def lines() -> list[Line]:
    found = []
    stage = 0
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.partition(" ")
        stage += name == "FROM"
        if name:
            found.append(Line(stage, name, " ".join(rest.split())))
    return found


LINES = lines()
FINAL = max(line.stage for line in LINES)


def final(name: str) -> list[str]:
    return [line.rest for line in LINES if line.stage == FINAL and line.name == name]


def test_it_says_nothing_that_is_not_judged_here() -> None:
    # ADD fetches and unpacks; HEALTHCHECK is the orchestrator's; VOLUME would be a place to write.
    assert {line.name for line in LINES} <= INSTRUCTIONS


def test_every_stage_begins_with_one_base_of_one_version() -> None:
    (base,) = [line.rest for line in LINES if line.stage == 0]
    name, _, tag = base.removeprefix("BASE=").partition(":")
    assert name == "python"
    assert re.fullmatch(r"3\.\d+\.\d+-slim-\w+", tag)
    assert [line.rest.split(" AS ")[0] for line in LINES if line.name == "FROM"] == ["${BASE}"] * FINAL
    assert FINAL == 2


def test_it_runs_as_nobody() -> None:
    (user,) = final("USER")
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)
    # Whatever comes after it could not be root's.
    names = [line.name for line in LINES if line.stage == FINAL]
    assert "RUN" not in names[names.index("USER") :]
    assert "COPY" not in names[names.index("USER") :]


def test_the_image_has_nothing_to_build_or_install_with() -> None:
    assert final("RUN") == ["python -m pip uninstall --yes --root-user-action=ignore pip"]
    assert final("COPY") == ["--from=build /opt/extauthz /opt/extauthz"]
    assert "--without-pip" in TEXT


def test_only_what_makes_the_package_is_copied() -> None:
    copied = [line.rest.split()[:-1] for line in LINES if line.name == "COPY" and line.stage < FINAL]
    sources = {Path(source) for one in copied for source in one}
    assert sources == {Path("pyproject.toml"), Path("README.md"), Path("LICENSE"), Path("extauthz")}
    assert all((ROOT / source).exists() for source in sources)


def test_what_it_starts_is_what_the_pod_starts() -> None:
    (entry,), (command,) = final("ENTRYPOINT"), final("CMD")
    deployment = yaml.safe_load((ROOT / "config" / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert json.loads(entry) == ["/opt/extauthz/bin/extauthz"]
    assert json.loads(command) == container["args"]
    assert final("EXPOSE") == [" ".join(str(port["containerPort"]) for port in container["ports"])]
    assert final("USER") == [f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"]
    assert final("STOPSIGNAL") == ["SIGTERM"]


@pytest.mark.parametrize("never", ["curl", "wget", "apt-get", "sudo", ":latest", "chmod 777", "http:"])
def test_it_fetches_and_loosens_nothing(never: str) -> None:
    assert never not in TEXT
