"""From a file that matplotlib wrote to an SVG that stands within a page."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?\d+\.\d{2,}")
REFERENCE = re.compile(r"#([A-Za-z][\w.-]*)")
FONT = re.compile(r"font: ([\d.]+px) [^;]*;|font-family: [^;]*;")
IDLE = re.compile(r"(?<![\w-])(stroke-linejoin: miter|stroke-miterlimit: 100000)(; ?|$)")


def inline(raw: str, title: str, desc: str, paint: Mapping[str, str], key: str = "") -> str:
    """Make an ``<svg>`` of a file by matplotlib; ``paint`` gives what to write for its colours."""
    root = ET.fromstring(raw)
    digest = hashlib.sha256(f"{key}\0{raw}".encode()).hexdigest()[:8]
    for parent in list(root.iter()):
        for part in parent.findall(f"{SVG}metadata") + parent.findall(f"{SVG}style"):
            parent.remove(part)  # a style would reach other pictures
    for element in root.iter():
        _tidy(element, digest, paint)
    _drop_ids(root)
    for group in list(root.iter("g")):
        _hoist(group)
    _head(root, {"title": title, "desc": desc}, digest)
    return ET.tostring(root, encoding="unicode")


def _head(root: ET.Element, words: Mapping[str, str], digest: str) -> None:
    for place, (tag, text) in enumerate(words.items()):
        element = ET.Element(tag, {"id": f"p{digest}-{tag}"})
        element.text = text
        root.insert(place, element)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib.update(
        {
            "xmlns": SVG.strip("{}"),
            "class": "picture",
            "viewBox": box,
            "role": "img",
            "aria-labelledby": f"p{digest}-title p{digest}-desc",
            "style": "font-family: system-ui, sans-serif; fill: currentColor; max-width: 100%",
        }
    )


def _tidy(element: ET.Element, digest: str, paint: Mapping[str, str]) -> None:
    """Names without namespaces, ids of their own, colours of the page, and short numbers."""
    element.tag = element.tag.removeprefix(SVG)
    if element.tag != "text":
        element.text = None
    element.tail = None
    attributes = dict(element.attrib)
    element.attrib.clear()
    for name, value in attributes.items():
        short = name.rpartition("}")[2]
        if short == "transform" and value.startswith("rotate(-0 "):
            continue
        element.set(
            short, _painted(value, paint) if short == "style" else _value(short, value, digest)
        )


def _painted(style: str, paint: Mapping[str, str]) -> str:
    style = FONT.sub(lambda found: f"font-size: {found[1]};" if found[1] else "", style)
    for color, ink in paint.items():
        style = style.replace(color, ink)
    return " ".join(IDLE.sub("", style).split()).rstrip(";")


def _value(name: str, value: str, digest: str) -> str:
    if name == "id":
        return f"p{digest}-{value}"
    if name in ("href", "clip-path"):
        return REFERENCE.sub(rf"#p{digest}-\1", value)
    if name in ("d", "x", "y", "transform", "width", "height"):
        value = NUMBER.sub(lambda found: f"{float(found[0]):.1f}", value)
    return " ".join(value.split())


def _drop_ids(root: ET.Element) -> None:
    """Only what is referred to keeps its id."""
    used = {
        name
        for element in root.iter()
        for value in (element.get("href", ""), element.get("clip-path", ""))
        for name in REFERENCE.findall(value)
    }
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _hoist(group: ET.Element) -> None:
    """A style that all parts of a group share is said once."""
    parts = [part for part in group if part.tag != "defs"]
    styles = {part.get("style") for part in parts}
    if len(parts) > 1 and len(styles) == 1 and None not in styles and "style" not in group.attrib:
        group.set("style", styles.pop() or "")
        for part in parts:
            part.attrib.pop("style")
