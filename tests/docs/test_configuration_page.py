"""docs/configuration.md has a row for every key of the schema, with its default and its meaning, and no other."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from extauthz.config.load import loads
from extauthz.config.schema import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part)) is not None), None)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "—"
    return f"`{json.dumps(field.default, ensure_ascii=False)}`"


def rows(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield the rows of the page, as the schema has them."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        nested = _model(field.annotation)
        if nested is None or path == "gateways":
            yield f"| `{path}` | {_default(field)} | {field.description} |"
        if nested is not None:
            below = {"gateways": "gateways.ID", "accepted": "accepted[]"}.get(path, path)
            yield from rows(nested, f"{below}.")


def test_every_key_is_told_with_its_default_and_no_key_that_is_not_there() -> None:
    found = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert found == list(rows())


def test_every_key_has_a_meaning() -> None:
    assert not [row for row in rows() if row.endswith("| None |")]


@pytest.mark.parametrize("example", PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:], ids=lambda text: text[:20])
def test_the_examples_load(example: str) -> None:
    loaded = loads(example.partition("```")[0])
    assert not loaded.incomplete
