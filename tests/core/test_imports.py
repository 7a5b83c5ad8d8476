"""The import rule: who may know whom. Broken here, it would be broken everywhere soon after."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import extauthz

PACKAGE = Path(extauthz.__file__).parent

# What of the standard library the core may use: nothing that reads, writes, waits, tells the time or draws lots.
CORE_MAY_USE = {
    *("abc", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools", "ipaddress", "itertools"),
    *("operator", "re", "string", "types", "typing"),
}
# What compiled modules share (hatch_build.py): the same code, in one extension module.
COMPILED_TOGETHER = "extauthz__mypyc"
# Builtins with which a module could get round that.
CORE_MAY_NOT_CALL = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}

# Each part, and which of our own parts it may import beside itself. What is missing is refused.
LAYERS: dict[str, set[str]] = {
    "core": set(),
    "printable": set(),
    "build": set(),
    "wire": {"build", "core"},
    "stamp": set(),
    "gateway": {"stamp"},
    "assertion": {"core", "gateway", "logs", "stamp"},
    "proxies": {"core", "config"},
    "refusals": {"core"},
    "config": {"assertion", "core", "logs", "printable", "refusals", "stamp"},
    "peers": {"core", "config", "logs"},
    "openclaw": set(),
    "migrate": {"core", "config", "printable", "proxies", "openclaw"},
    "audit": {"assertion", "core", "config", "stamp", "openclaw"},
    "probe": {"proxies", "gateway"},
    "logs": {"printable"},
    "notify": {"logs"},
    "key_watch": {"logs", "stamp"},
    "process": set(),
    "explaining": {"core", "wire"},
    "recall": {"core", "stamp", "wire"},
    "authorizer": {"core", "logs", "recall", "refusals", "stamp", "wire"},
    "telemetry": {"core", "logs", "recall", "wire"},
    "doors": {"core", "logs", "wire", "config", "stamp", "authorizer"},
    "assembly": {
        "assertion",
        "core",
        "logs",
        "wire",
        "refusals",
        "config",
        "stamp",
        "doors",
        "authorizer",
        "telemetry",
    },
    "reload": {"config", "logs"},
    "view": {"assertion", "authorizer", "peers", "reload", "stamp", "telemetry"},
    "metrics": {"assertion", "build", "core", "wire", "telemetry", "view"},
    "console": {"assertion", "core", "config", "peers", "audit", "explaining", "telemetry", "view", "doors"},
    "service": {
        *("core", "wire", "config", "stamp", "doors", "authorizer", "logs", "assembly", "reload", "telemetry", "view"),
        *("build", "notify", "console", "metrics", "peers", "assertion", "key_watch", "process"),
    },
}
# Parts that put the others together, and that none of the above may import.
ABOVE = {"cli", "demo"}
# Foreign packages that a part must not know: what would tie the decision, the bytes or a Gateway to a server.
FOREIGN = {
    "core": None,  # none at all
    "wire": {"grpc", "pydantic", "yaml", "click", "uvicorn"},
    "config": {"grpc", "google", "click", "uvicorn"},
    "stamp": {"grpc", "google", "pydantic", "click", "uvicorn"},
    "gateway": {"grpc", "google", "pydantic", "yaml", "click"},
    "assertion": {"grpc", "google", "pydantic", "yaml", "click", "uvicorn"},
    "authorizer": {"grpc", "pydantic", "yaml", "click", "uvicorn"},
    "probe": {"grpc", "google", "pydantic", "yaml", "click", "rich", "uvicorn"},
}


def _files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if not path.name.endswith("_pb2.py")]


def _part(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            if node.module == "extauthz":
                yield from (f"extauthz.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _id(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


FILES = _files()


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_module_opens_by_saying_what_may_live_in_it(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert text.strip().endswith((".", "?", "!", "…", ")", "`"))


@pytest.mark.parametrize("path", [path for path in FILES if _part(path) == "core"], ids=_id)
def test_core_uses_nothing_that_reads_writes_waits_or_draws_lots(path: Path) -> None:
    for name in _imports(path):
        assert name in CORE_MAY_USE or name.startswith("extauthz.core"), f"{name} is not for the core"
    called = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & CORE_MAY_NOT_CALL


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_part_knows_only_the_parts_below_it(path: Path) -> None:
    part = _part(path)
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("extauthz.")}
    if part in ABOVE or part == "__init__":
        return
    assert part in LAYERS, f"{part} is not in the table: say what it may import"
    assert ours - {part, "__version__"} <= LAYERS[part]


@pytest.mark.parametrize("path", [path for path in FILES if _part(path) in FOREIGN], ids=_id)
def test_part_does_not_know_foreign_packages_that_would_tie_it_down(path: Path) -> None:
    forbidden = FOREIGN[_part(path)]
    for name in _imports(path):
        top = name.split(".")[0]
        if forbidden is None:
            assert top in sys.stdlib_module_names or top == "extauthz"
        else:
            assert top not in forbidden


def test_table_has_no_circle() -> None:
    def below(part: str, seen: tuple[str, ...] = ()) -> None:
        assert part not in seen, f"{part} imports itself by way of {seen}"
        for other in LAYERS[part]:
            below(other, (*seen, part))

    for part in LAYERS:
        below(part)


def _loaded_by(module: str) -> set[str]:
    """Return the top-level packages that are loaded once `module` is, in an interpreter of its own."""
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_core_loads_nothing_from_outside_the_standard_library() -> None:
    modules = ", ".join(
        f"extauthz.core.{path.stem}" for path in FILES if _part(path) == "core" and path.stem != "__init__"
    )
    loaded = _loaded_by(modules)
    plain = _loaded_by("json")  # whatever an interpreter loads by itself, with its .pth files
    assert loaded - plain - sys.stdlib_module_names - {COMPILED_TOGETHER} == {"extauthz"}
    assert not {"socket", "logging", "random", "asyncio", "subprocess"} & (loaded - plain)


def test_gateway_does_not_load_the_service() -> None:
    # A Gateway imports the verifier into its own process: a gRPC server has no business there.
    modules = [
        "extauthz.gateway" + ("" if path.stem == "__init__" else f".{path.stem}")
        for path in FILES
        if _part(path) == "gateway"
    ]
    assert modules
    assert not {"grpc", "google", "pydantic", "yaml", "click"} & _loaded_by(", ".join(modules))


def test_help_is_quick_because_commands_are_loaded_when_called() -> None:
    assert not {"grpc", "pydantic", "yaml", "cryptography"} & _loaded_by("extauthz.cli")
