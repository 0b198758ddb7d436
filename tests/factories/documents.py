"""Documents as other systems write them: a PDF by hand (ISO 32000-1) and a CDA R2, each with one text."""

from __future__ import annotations

import io
import textwrap
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw
from pypdf import PdfReader, PdfWriter

from tests.factories.burnt import fonts


def pdf(text: str, password: str = "") -> bytes:
    """One page with the text in Helvetica; encrypted when there is a password."""
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in textwrap.wrap(text, 60)]
    shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
    stream = f"BT /F1 11 Tf 72 720 Td {shown}ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica "
        b"/Encoding /WinAnsiEncoding >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    out, places = bytearray(b"%PDF-1.4\n"), list[int]()
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    if not password:
        return bytes(out)
    writer, made = PdfWriter(PdfReader(io.BytesIO(out))), io.BytesIO()
    writer.encrypt(password, algorithm="AES-256")
    writer.write(made)
    return made.getvalue()


def scanned(text: str, pages: int = 1, skew: float = 0.4) -> bytes:
    """A PDF of pictures: the text printed on paper, a little askew, with the noise of a scanner, 200 dots an inch."""
    sheet = Image.new("L", (1654, 2339), 245)
    pen = ImageDraw.Draw(sheet)
    for row, line in enumerate(textwrap.wrap(text, 80)):
        pen.text((130, 140 + 44 * row), line, font=fonts.font_of("DejaVuSerif.ttf", 30), fill=40)
    turned = np.asarray(sheet.rotate(skew, fillcolor=245, resample=Image.Resampling.BICUBIC)).astype(float)
    noise = np.random.default_rng(5).normal(0, 6, turned.shape)
    drawn = Image.fromarray(np.clip(turned + noise, 0, 255).astype("u1"))
    out = io.BytesIO()
    drawn.save(out, "PDF", resolution=200, save_all=True, append_images=[drawn] * (pages - 1))
    return out.getvalue()


def cda(text: str, author: str = "Yqorvathy", media: str = "", accession: str = "") -> bytes:
    """A document of one section; `media`: its body is another document of this type."""
    order = f'<inFulfillmentOf><order><id root="1.2.6" extension="{accession}"/></order></inFulfillmentOf>'
    narrative = "".join(f"<paragraph>{escape(line)}</paragraph>" for line in textwrap.wrap(text, 60))
    body = f"""<structuredBody><component><section><title>Findings</title><text>{narrative}</text>
      </section></component></structuredBody>"""
    if media:
        body = f'<nonXMLBody><text mediaType="{media}" representation="B64">JVBERi0=</text></nonXMLBody>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
  <typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
  <id root="1.2.3" extension="77"/>
  <code code="18748-4" codeSystem="2.16.840.1.113883.6.1"/>
  <recordTarget><patientRole>
    <id root="1.2.4" extension="QX771209"/>
    <addr><streetAddressLine>Hjqwstrasse 7</streetAddressLine><city>Lakeside</city></addr>
    <telecom value="tel:+1-555-210-4471"/>
    <patient><name><given>Rosa</given><family>Quillfeather</family></name><birthTime value="19410213"/></patient>
    <providerOrganization><name>Qmarspital</name></providerOrganization>
  </patientRole></recordTarget>
  <author><time value="20240301"/><assignedAuthor><id root="1.2.5" extension="7"/><assignedPerson>
    <name><prefix>Dr.</prefix><given>Ute</given><family>{escape(author)}</family></name>
  </assignedPerson></assignedAuthor></author>
  {order if accession else ""}
  <component>{body}</component>
</ClinicalDocument>
""".encode()
