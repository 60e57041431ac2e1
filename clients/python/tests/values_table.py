"""The cases of clients/values.json, as Python objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE = json.loads((Path(__file__).parents[2] / "values.json").read_text())


def decode(value: Any) -> Any:
    """Builds the value that a case describes."""
    if isinstance(value, list):
        return [decode(element) for element in value]
    if not isinstance(value, dict):
        return value
    if "$utf16" in value:
        # Not joined to pairs, as a program that cuts texts leaves them.
        return "".join(chr(int(unit, 16)) for unit in value["$utf16"].split())
    if "$number" in value:
        return float(value["$number"])
    if "$integer" in value:
        return int(value["$integer"])
    if "$entries" in value:
        return {decode(key): decode(element) for key, element in value["$entries"]}
    if "$nested" in value:
        levels, element = value["$nested"]
        nested = decode(element)
        for _ in range(levels):
            nested = [nested]
        return nested
    return {key: decode(element) for key, element in value.items()}
