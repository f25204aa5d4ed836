"""Photos with the metadata of a camera and of a photo editor, written by Pillow."""

from __future__ import annotations

import io
from typing import Any

import pillow_heif
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

XMP = 700
"""The tag of TIFF."""
SECRETS = (b"SN-4711", b"Ada Owner", b"maker-note", b"unwanted-keyword", b"thumb")
"""Values that no result may hold: serial number, owner, note of the maker, XMP property, thumbnail."""
POSITION = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0), 6: 34.0}
PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmpRights:Marked="True" xmpRights:WebStatement="https://example.com/terms?a=1&amp;b=2"
 exif:GPSLatitude="52,31.2N" exif:BodySerialNumber="SN-4711">
<dc:creator><rdf:Seq><rdf:li>Ada</rdf:li><rdf:li>Ben &amp; Co</rdf:li></rdf:Seq></dc:creator>
<dc:rights><rdf:Alt><rdf:li xml:lang="de">Alle Rechte</rdf:li><rdf:li xml:lang="x-default">All rights</rdf:li></rdf:Alt>
</dc:rights>
<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang="x-default">Ask &lt;first&gt;</rdf:li></rdf:Alt></xmpRights:UsageTerms>
<dc:subject><rdf:Bag><rdf:li>unwanted-keyword</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def camera_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = "Acme", "Acme One"
    exif[Base.Orientation] = orientation
    exif[Base.Artist], exif[Base.Copyright] = "Ada", "(c) Ada Ünal".encode()
    exif[Base.DateTime] = "2026:01:02 03:04:05"
    photo = exif.get_ifd(IFD.Exif)
    photo[Base.DateTimeOriginal], photo[Base.OffsetTimeOriginal] = "2026:01:02 03:04:05", "+02:00"
    photo[Base.LensModel] = "Acme 50mm"
    photo[Base.LensSpecification] = tuple(IFDRational(each, 10) for each in (500, 500, 18, 18))
    photo[Base.BodySerialNumber], photo[Base.CameraOwnerName] = "SN-4711", "Ada Owner"
    photo[Base.MakerNote], photo[Base.UserComment] = b"maker-note", b"ASCII\0\0\0thumb"
    exif.get_ifd(IFD.GPSInfo).update(POSITION)
    return exif


def with_metadata(image: Image.Image, format: str, *, orientation: int = 1, **options: Any) -> bytes:
    """The file of an image with `camera_exif` and PACKET."""
    file = io.BytesIO()
    exif = camera_exif(orientation).tobytes()
    if format == "PNG":
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", PACKET.decode())
        options["pnginfo"] = texts
    elif format == "TIFF":
        tags = camera_exif(orientation)
        tags[XMP] = PACKET
        exif = tags.tobytes()
    elif format == "HEIC":
        heif = pillow_heif.from_pillow(image)
        heif.save(file, exif=camera_exif().tobytes(), xmp=PACKET)
        return file.getvalue()
    else:
        options["xmp"] = PACKET
    image.save(file, format, exif=exif, **options)
    return file.getvalue().replace(b"Ada ??nal", "Ada Ünal".encode())  # Pillow writes ASCII alone into a TIFF


def exif_values(data: bytes) -> dict[str, Any]:
    """The tags of a file by their names, those of the GPS as `GPS.NAME`, as Pillow reads them."""
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        found = {Base(tag).name: value for tag, value in {**exif, **exif.get_ifd(IFD.Exif)}.items()}
        position = {f"GPS.{GPS(tag).name}": value for tag, value in exif.get_ifd(IFD.GPSInfo).items()}
    pointers = {IFD.Exif.name: None, "ExifOffset": None, "GPSInfo": None}
    return {name: value for name, value in {**found, **position}.items() if name not in pointers}


def xmp_of(data: bytes) -> bytes:
    """The XMP packet of a file; empty without one."""
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp", b"")
    return packet.encode() if isinstance(packet, str) else packet
