"""The JSON Schema that editors check files with: it takes what loads, and refuses what a typing error makes of it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cases.build import GATEWAY, gateway
from extauthz.cli import main

KEYWORDS = {
    *("$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum", "items"),
    *(
        "maxLength",
        "maximum",
        "minItems",
        "maxItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
    ),
    *("propertyNames", "title", "type"),
}
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


@pytest.fixture(scope="module")
def schema() -> Any:
    result = CliRunner().invoke(main, ["config", "schema"])
    assert result.exit_code == 0
    return json.loads(result.output)


def _schemas(schema: Any) -> Iterator[Any]:
    """Yield every part of the schema that is one itself."""
    yield schema
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(key), dict):
            yield from _schemas(schema[key])
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            yield from _schemas(inner)
    for inner in schema.get("anyOf", []):
        yield from _schemas(inner)


def _faults(value: Any, schema: Any, root: Any, path: str = "") -> Iterator[str]:  # noqa: C901, PLR0912 - one `if` each
    """Check a value against the part of JSON Schema that ours uses; a keyword beyond that would go unchecked."""
    if "$ref" in schema:
        yield from _faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
        return
    if "anyOf" in schema and all(list(_faults(value, inner, root, path)) for inner in schema["anyOf"]):
        yield f"{path}: none of the alternatives"
    kind = schema.get("type")
    if kind is not None and (
        not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind in {"integer", "number"})
    ):
        yield f"{path}: no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: not of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{path}: not {schema['const']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: not like {schema['pattern']}"
    if isinstance(value, str | list | dict) and len(value) < max(
        schema.get(key, 0) for key in ("minLength", "minItems", "minProperties")
    ):
        yield f"{path}: too short"
    if isinstance(value, list) and len(value) > schema.get("maxItems", len(value)):
        yield f"{path}: too long"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path}: out of bounds"
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _faults(item, schema.get("items", {}), root, f"{path}[{position}]")
    if isinstance(value, dict):
        yield from (f"{path}.{name}: is missing" for name in schema.get("required", []) if name not in value)
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            if inner is False:
                yield f"{path}.{name}: unknown"
            else:
                yield from _faults(item, inner, root, f"{path}.{name}")


def test_schema_uses_only_what_the_checks_here_understand(schema: Any) -> None:
    for part in _schemas(schema):
        assert part.keys() <= KEYWORDS


def test_every_object_refuses_unknown_keys_and_has_camel_case_names(schema: Any) -> None:
    objects = [part for part in _schemas(schema) if "properties" in part]
    assert len(objects) > 10
    for part in objects:
        assert part["additionalProperties"] is False
        assert part["type"] == "object"
        for name in part["properties"]:
            assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", name)


def test_every_reference_leads_somewhere(schema: Any) -> None:
    references = [part["$ref"] for part in _schemas(schema) if "$ref" in part]
    assert references
    for reference in references:
        assert reference.removeprefix("#/$defs/") in schema["$defs"]
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert schema["required"] == ["gateways"]


def test_schema_takes_the_whole_example(schema: Any) -> None:
    from config.test_example_files import EXAMPLE, WHOLE  # noqa: PLC0415 - the example stands in one place

    for text in (WHOLE, EXAMPLE.read_text(encoding="utf-8")):
        assert list(_faults(yaml.safe_load(text), schema, schema)) == []
    assert list(_faults({"gateways": {"g": GATEWAY}, "listen": {"grpc": ["unix:/a", "[::1]:1"]}}, schema, schema)) == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"gateways": {"g": GATEWAY}, "limts": {}},
        {"gateways": {"g": gateway(trustedProxies="10.0.0.7")}},
        {"gateways": {"g": gateway({"allowUsers": None})}},
        {"gateways": {"g": gateway({"userheader": "x"})}},
        {"gateways": {"g": {"auth": {"mode": "token"}}}},
        {"gateways": {"g": GATEWAY}, "mode": "off"},
        {"gateways": {"g": GATEWAY}, "server": {"maxConcurrent": 0}},
        {"gateways": {"g": GATEWAY}, "server": {"maxConcurrent": True}},
        {"gateways": {"g": GATEWAY}, "stamp": {"lifetime": "60"}},
        {"gateways": {"g": GATEWAY}, "listen": {"grpc": 9191}},
        {"gateways": {"g": GATEWAY}, "denial": {"body": "xml"}},
    ],
    ids=str,
)
def test_schema_refuses_what_an_editor_should_underline(schema: Any, data: Any) -> None:
    assert list(_faults(data, schema, schema))
