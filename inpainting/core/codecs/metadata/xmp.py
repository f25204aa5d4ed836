"""Reads the rights from an XMP packet, and writes a new packet of them and of the digital source type.

XMP Specification Part 1 (ISO 16684-1): section 7 for the serialisation, 8.3 and 8.5 for the properties; IPTC Photo
Metadata Standard 2023.2, section "Digital Source Type".
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from xml.etree import ElementTree  # nosec B405

from inpainting.core.metadata import ImageMetadata, Rights, clean_text

JPEG_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
"""The beginning of the APP1 segment that holds a packet."""
PNG_KEYWORD = "XML:com.adobe.xmp"
"""The keyword of the iTXt chunk that holds a packet."""
MAX_PACKET_BYTES = 256 * 1024
MAX_CREATORS = 10
RDF, DC = "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "http://purl.org/dc/elements/1.1/"
XMP_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
IPTC_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_rights(packet: bytes) -> Rights:
    """Return the rights of a packet in UTF-8; none where it is damaged, has over MAX_PACKET_BYTES, or declares
    entities.

    An entity can only be declared in a document type declaration, which XMP does not use.
    """
    if len(packet) > MAX_PACKET_BYTES:
        return Rights()
    try:
        text = packet.decode("utf-8-sig").strip("\0 \n\r\t")
        if "<!DOCTYPE" in text:
            return Rights()
        root = ElementTree.fromstring(text)  # noqa: S314 - nothing is declared  # nosec B314
    except (ElementTree.ParseError, ValueError):
        return Rights()
    descriptions = [*root.iter(f"{{{RDF}}}Description")]
    return Rights(
        creators=tuple(_texts(descriptions, DC, "creator")[:MAX_CREATORS]),
        rights=_text(descriptions, DC, "rights"),
        marked=_parse_boolean(_text(descriptions, XMP_RIGHTS, "Marked")),
        usage_terms=_text(descriptions, XMP_RIGHTS, "UsageTerms"),
        web_statement=_text(descriptions, XMP_RIGHTS, "WebStatement"),
    )


def write_packet(metadata: ImageMetadata) -> bytes:
    """Return a packet of the rights and the digital source type; empty without any."""
    rights = metadata.rights
    properties = [
        _array("dc:creator", "Seq", rights.creators),
        _array("dc:rights", "Alt", filter(None, [rights.rights])),
        _simple("xmpRights:Marked", rights.marked),
        _array("xmpRights:UsageTerms", "Alt", filter(None, [rights.usage_terms])),
        _simple("xmpRights:WebStatement", rights.web_statement),
        _simple("Iptc4xmpExt:DigitalSourceType", metadata.digital_source_type),
    ]
    if not any(properties):
        return b""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}">'
        f'<rdf:Description rdf:about="" xmlns:dc="{DC}" xmlns:xmpRights="{XMP_RIGHTS}"'
        f' xmlns:Iptc4xmpExt="{IPTC_EXTENSION}">'
        f"{''.join(properties)}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()


def _texts(descriptions: Iterable[ElementTree.Element], namespace: str, name: str) -> list[str]:
    """Return the texts of a property, which is an attribute, an element or an array; of alternatives the default one
    first."""
    found: list[str] = []
    for description in descriptions:
        found.append(description.get(f"{{{namespace}}}{name}", ""))
        for element in description.findall(f"{{{namespace}}}{name}"):
            items = element.findall(f"*/{{{RDF}}}li") or [element]
            items.sort(key=lambda item: item.get(LANGUAGE) != "x-default")
            found.extend(item.text or "" for item in items)
    return [text for text in map(clean_text, found) if text]


def _text(descriptions: Iterable[ElementTree.Element], namespace: str, name: str) -> str:
    return next(iter(_texts(descriptions, namespace, name)), "")


def _parse_boolean(text: str) -> str:
    """Return the value of a property of the type Boolean (8.2.1.1); "" for any other text."""
    return text if text in ("True", "False") else ""


def _simple(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>" if text else ""


def _array(name: str, kind: str, texts: Iterable[str]) -> str:
    language = ' xml:lang="x-default"' if kind == "Alt" else ""
    items = "".join(f"<rdf:li{language}>{escape(text)}</rdf:li>" for text in texts)
    return f"<{name}><rdf:{kind}>{items}</rdf:{kind}></{name}>" if items else ""
