"""What this server's DICOMweb understands, from the tables that its code works by.

The capabilities document (PS3.18 8.9) and the conformance statement (docs/administrator/conformance.md) are both made
of them, so neither can say what is not so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from pydicom.uid import UID

from portal.archive import media, qido
from portal.archive.attributes import keyword_of, tag_of, vr_of
from portal.archive.search import INSTANCE, SERIES, STUDY

WADL = "http://wadl.dev.java.net/2009/02"
WADL_TYPE = "application/vnd.sun.wadl+xml"
DICOM_JSON, DICOM_XML = "application/dicom+json", 'multipart/related; type="application/dicom+xml"'
DICOM_PARTS, OCTETS = (
    'multipart/related; type="application/dicom"',
    'multipart/related; type="application/octet-stream"',
)
MATCHING = {
    "text": "single value, wildcard",
    "name": "single value, wildcard, without regard to case",
    "uid": "list of UIDs",
    "code": "list of values, wildcard",
    "codes": "one of a list of values; all of them with multiplevaluematching",
    "day": "single value, range",
    "time": "single value, range; joined with the date when both are ranges",
    "number": "single value",
}
OPTIONS = {
    "limit": f"most answers, {qido.DEFAULT_LIMIT} unless told, {qido.MAX_LIMIT} at most",
    "offset": f"answers to pass over, {qido.MAX_OFFSET} at most",
    "after": "key of the last answer of the page before, from the Link header",
    "includefield": "attributes by keyword or tag, or all",
    "fuzzymatching": "Patient's Name by American Soundex of its parts",
    "emptyvaluematching": 'the value "" matches empty and absent attributes',
    "multiplevaluematching": "all of several values must match",
    "orderby": "attributes, with - before one for the opposite order (extension)",
    "accept": "media type, in place of the header",
}
# resource → levels at which it may be searched, or media types in which it is retrieved
SEARCHES = {
    "studies": STUDY,
    "series": SERIES,
    "instances": INSTANCE,
    "studies/{study}/series": SERIES,
    "studies/{study}/instances": INSTANCE,
    "studies/{study}/series/{series}/instances": INSTANCE,
}
PLACES = {
    "studies/{study}": "study",
    "studies/{study}/series/{series}": "series",
    "studies/{study}/series/{series}/instances/{instance}": "instance",
}
PICTURES = ["image/jpeg", "image/png"]
Resource = Callable[[str], ET.Element]  # path → its element in the capabilities document
_more: list[tuple[Callable[[Resource], None], Callable[[], dict[str, str]]]] = []


def register(fill: Callable[[Resource], None], tables: Callable[[], dict[str, str]]) -> None:
    """Add what a later step serves: resources of the capabilities document, tables of the conformance statement."""
    if (fill, tables) not in _more:
        _more.append((fill, tables))


def keys(level: str) -> Iterator[tuple[str, str, str]]:
    """(keyword, tag, kinds of matching) of the keys of a level and those above it that have a column."""
    seen: set[str] = set()
    for prefix, known in qido.LEVELS[level].keys:
        if prefix == "instances__" or (level == STUDY and prefix):
            continue  # relational: documented with the level below
        for keyword, key in known.items():
            if keyword not in seen:
                seen.add(keyword)
                yield keyword, tag_of(keyword), MATCHING[key.kind]


def retrievals() -> Iterator[tuple[str, list[str]]]:
    """(resource, media types) of everything that can be retrieved."""
    for place, kind in PLACES.items():
        yield place, [DICOM_PARTS, *(["application/dicom"] if kind == "instance" else [])]
        yield f"{place}/metadata", [DICOM_JSON, DICOM_XML]
        yield f"{place}/rendered", PICTURES
        yield f"{place}/thumbnail", PICTURES
    frame = "studies/{study}/series/{series}/instances/{instance}/frames/{frames}"
    yield frame, [OCTETS, *sorted({f'multipart/related; type="{kind}"' for kind in media.IMAGE_TYPES.values()})]
    yield f"{frame}/rendered", PICTURES
    yield f"{frame}/thumbnail", PICTURES


def syntaxes() -> Iterator[tuple[str, str, str]]:
    """(UID, name, media type of a frame) of the transfer syntaxes whose frames are passed on as they are."""
    for uid in sorted({*map(str, media.NATIVE), *media.IMAGE_TYPES}):
        yield uid, UID(uid).name, media.IMAGE_TYPES.get(uid, "application/octet-stream")


def wadl(base: str) -> bytes:
    """The capabilities document (PS3.18 8.9.3, annex H). `base`: address of the service, without a slash."""
    root = ET.Element("application", {"xmlns": WADL})
    resources = ET.SubElement(root, "resources", {"base": base})
    nodes: dict[str, ET.Element] = {}

    def resource(path: str) -> ET.Element:
        if path not in nodes:
            nodes[path] = ET.SubElement(resources, "resource", {"path": path})
            for name in (part[1:-1] for part in path.split("/") if part.startswith("{")):
                ET.SubElement(nodes[path], "param", {"name": name, "style": "template", "required": "true"})
        return nodes[path]

    for path, level in SEARCHES.items():
        request = method(resource(path), "GET", f"SearchFor{level.title()}", [DICOM_JSON, DICOM_XML], "200 204 304")
        for name, words in OPTIONS.items():
            query(request, name, words)
        for keyword, tag, words in keys(level):
            for name in (keyword, tag):
                query(request, name, words)
    for path, kinds in retrievals():
        method(resource(path), "GET", "Retrieve", kinds, "200 304")
    for path in ("studies", "studies/{study}"):
        request = method(resource(path), "POST", "StoreInstances", [DICOM_JSON], "200 202 409")
        ET.SubElement(request, "representation", {"mediaType": DICOM_PARTS})
    for fill, _ in _more:
        fill(resource)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def method(node: ET.Element, name: str, what: str, kinds: list[str], statuses: str) -> ET.Element:
    """Describe a method of a resource; returns its request."""
    made = ET.SubElement(node, "method", {"name": name, "id": f"{what}:{node.get('path')}"})
    request = ET.SubElement(made, "request")
    ET.SubElement(request, "param", {"name": "Accept", "style": "header", "default": kinds[0]})
    response = ET.SubElement(made, "response", {"status": statuses})
    for kind in kinds:
        ET.SubElement(response, "representation", {"mediaType": kind})
    for status in ("400", "401", "404", "406"):
        ET.SubElement(made, "response", {"status": status})
    return request


def query(request: ET.Element, name: str, words: str) -> None:
    """Describe a query parameter."""
    ET.SubElement(ET.SubElement(request, "param", {"name": name, "style": "query"}), "doc").text = words


def statement_tables() -> dict[str, str]:
    """Markdown tables of the conformance statement by name."""
    out = {}
    for level in (STUDY, SERIES, INSTANCE):
        rows = [f"| {keyword} | {tag} | {vr_of(tag)} | {words} |" for keyword, tag, words in keys(level)]
        out[f"keys of {level}"] = "\n".join(["| attribute | tag | VR | matching |", "|---|---|---|---|", *rows])
        tags = sorted(qido.LEVELS[level].answer)
        out[f"answers of {level}"] = ", ".join(f"{keyword_of(tag)} ({tag})" for tag in tags)
    rows = [f"| `{name}` | {words} |" for name, words in OPTIONS.items()]
    out["parameters"] = "\n".join(["| parameter | meaning |", "|---|---|", *rows])
    rows = [f"| `{path}` | {', '.join(f'`{kind}`' for kind in kinds)} |" for path, kinds in retrievals()]
    out["resources"] = "\n".join(["| resource | media types |", "|---|---|", *rows])
    rows = [f"| {name} | {uid} | `{kind}` |" for uid, name, kind in syntaxes()]
    out["transfer syntaxes"] = "\n".join(["| transfer syntax | UID | media type of a frame |", "|---|---|---|", *rows])
    for _, tables in _more:
        out |= tables()
    return out
