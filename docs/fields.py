"""Write the tables of docs/json.md anew from the JSON Schemas that stand beside it.

They stand between ``<!-- fields: FILE HEADING -->`` and ``<!-- end -->``: the report first, under
that heading, and then each of its parts under the path that leads to it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE = DOCS / "json.md"
TABLES = re.compile(
    r"(?P<mark><!-- fields: (?P<file>\S+) (?P<heading>.+?) -->\n).*?(?P<end><!-- end -->)",
    re.DOTALL,
)
PLAIN = {"integer": "whole number", "string": "text", "object": "names with values"}

Schema = dict[str, Any]


def refreshed(text: str) -> str:
    """A page with its tables as the schemas are now."""
    return TABLES.sub(
        lambda match: match["mark"] + tables(match["file"], match["heading"]) + match["end"], text
    )


def tables(file: str, heading: str) -> str:
    """All structs of a schema, each with its heading and the table of its fields."""
    structs: Schema = json.loads((DOCS / file).read_text(encoding="utf-8"))["$defs"]
    prefix = file.partition(".")[0]
    headings = {name: f"`{path}`" for name, path in paths(structs).items()} | {"Report": heading}
    return "".join(
        f'\n### {headings[name]}\n\n<a id="{anchor(prefix, name)}"></a>{struct["description"]}\n\n'
        + table(struct["properties"], prefix)
        for name, struct in structs.items()
    )


def paths(structs: Schema) -> dict[str, str]:
    """Where in a report each struct stands first: ``recipe.tricks[]``."""
    found = {"Report": ""}
    waiting = ["Report"]
    while waiting:
        holder = waiting.pop(0)
        for name, field in structs[holder]["properties"].items():
            for struct, inside in referred(field):
                if struct not in found:
                    found[struct] = f"{found[holder]}.{name}{inside}".lstrip(".")
                    waiting.append(struct)
    return found


def referred(field: Schema) -> list[tuple[str, str]]:
    """The structs that a field holds, with ``[]`` where it is a list of them."""
    if "$ref" in field:
        return [(field["$ref"].rpartition("/")[2], "")]
    if field.get("type") == "array":
        return [(struct, f"[]{inside}") for struct, inside in referred(field["items"])]
    return [found for one in field.get("anyOf", ()) for found in referred(one)]


def table(fields: Schema, prefix: str) -> str:
    """The fields of a struct: name, type and meaning."""
    rows = [
        f"| `{name}` | {kind(field, prefix)} | {field.get('description', '')} |\n"
        for name, field in fields.items()
    ]
    return "".join(["| field | type | meaning |\n| --- | --- | --- |\n", *rows, "\n"])


def anchor(prefix: str, struct: str) -> str:
    """Where on the page the table of a struct stands."""
    return f"{prefix}-{struct.lower()}"


def kind(field: Schema, prefix: str) -> str:
    """The type of a field in words."""
    if "$ref" in field:
        struct = field["$ref"].rpartition("/")[2]
        return f"[{struct}](#{anchor(prefix, struct)})"
    if "anyOf" in field:
        return " or ".join(kind(one, prefix) for one in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{one}`" if one else "empty" for one in field["enum"])
    if field["type"] == "array":
        return f"list of {kind(field['items'], prefix)}"
    if "additionalProperties" in field:
        return f"names with {kind(field['additionalProperties'], prefix)}"
    return PLAIN.get(field["type"], field["type"])


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
