"""CTP scripts: what is taken, what is not and is named, and that the same comes back."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from pydicom.dataset import Dataset

from portal.deidentify import ctp
from portal.deidentify.keys import Keys
from portal.deidentify.profile import deidentify
from portal.deidentify.table import Options, Row, rows

TABLE = rows(Options())
KEYS = Keys(ids=b"i" * 32, uids=b"u" * 32, organisation=7, patient="PAAAABBBBCCCCD", days=-10)
SCRIPT = """<script>
 <p t="DATEINC">-137</p><p t="SITENAME">North</p><p t="UIDROOT">9999</p>
 <e en="T" t="00080020" n="StudyDate">@incrementdate(this,@DATEINC)</e>
 <e en="T" t="00080018" n="SOPInstanceUID">@hashuid(@UIDROOT,this)</e>
 <e en="T" t="00081030" n="StudyDescription">@remove()</e>
 <e en="T" t="00081010" n="StationName">@empty()</e>
 <e en="T" t="00080070" n="Manufacturer">@keep()</e>
 <e en="T" t="00180015" n="BodyPartExamined">@require()</e>
 <e en="T" t="00120031" n="ClinicalTrialSiteName">@param(@SITENAME)</e>
 <e en="T" t="00120010" n="ClinicalTrialSponsorName">@always()Sponsor</e>
 <e en="T" t="00181000" n="DeviceSerialNumber">@hash(this,16)</e>
 <e en="T" t="00081080" n="AdmittingDiagnosesDescription">@keep()</e>
 <e en="T" t="00100020" n="PatientID">@keep()</e>
 <e en="T" t="00100030" n="PatientBirthDate">@keep()</e>
 <e en="T" t="00101010" n="PatientAge">@round(this,10)</e>
 <e en="T" t="00080080" n="InstitutionName">@if(this,exists){@keep()}{@remove()}</e>
 <e en="T" t="00131010" n="ProjectName">@param(@SITENAME)</e>
 <e en="F" t="00102160" n="EthnicGroup">@remove()</e>
 <r en="F" t="privategroups">Remove private groups</r>
 <r en="T" t="unspecifiedelements">Remove unspecified elements</r>
</script>"""


def test_what_is_taken() -> None:
    script = ctp.read(SCRIPT, TABLE)
    assert {f"{tag:08X}": (row.action, row.value) for tag, row in script.rows.items()} == {
        "00080020": ("T", ""),
        "00080018": ("U", ""),
        "00081030": ("X", ""),
        "00081010": ("Z", ""),
        "00080070": ("K", ""),
        "00180015": ("K", ""),
        "00120031": ("V", "North"),
        "00120010": ("V", "Sponsor"),
        "00181000": ("H", ""),
    }


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("AdmittingDiagnosesDescription", "weaker than C"),
        ("PatientID", "set by the profile"),
        ("PatientBirthDate", "weaker than Z"),
        ("PatientAge", "no counterpart"),
        ("InstitutionName", "no counterpart"),
        ("00131010", "private or unknown"),
        ("BodyPartExamined", "not refused"),
        ("StudyDate", "own offset"),
        ("private groups", "removed here"),
        ("unspecified elements", "by their rows"),
    ],
)
def test_what_is_not_taken_is_named(start: str, reason: str) -> None:
    notes = [note for note in ctp.read(SCRIPT, TABLE).notes if note.startswith(f"{start}: ")]
    assert len(notes) == 1 and reason in notes[0]


def test_the_rules_are_applied() -> None:
    ds = Dataset()
    ds.PatientID, ds.PatientBirthDate, ds.StudyDate = "X-1", "19700101", "20200111"
    ds.StudyDescription, ds.DeviceSerialNumber, ds.Manufacturer = "CT chest", "SN-1", "ACME"
    ds.ClinicalTrialSiteName = "Somewhere"
    deidentify(ds, KEYS, Options(), site=ctp.read(SCRIPT, TABLE).rows)
    assert "StudyDescription" not in ds and not ds.PatientBirthDate
    assert (ds.ClinicalTrialSiteName, ds.Manufacturer, ds.StudyDate) == ("North", "ACME", "20200101")
    assert ds.DeviceSerialNumber != "SN-1" and len(ds.DeviceSerialNumber) == 14


@pytest.mark.parametrize("text", ["", "<a/>", "<script>", '<!DOCTYPE x [<!ENTITY a "b">]><script/>', "not xml"])
def test_what_is_no_script_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ctp.read(text, TABLE)


def test_a_written_script_reads_as_no_weaker_table() -> None:
    site = {0x00120031: Row("V", "site", 'North & "South"')}
    xml = ctp.write({**TABLE, **site}, days=-137)
    assert ET.fromstring(xml).find("p").text == "-137"  # type: ignore[union-attr]
    again = ctp.read(xml, TABLE)
    assert again.rows[0x00120031] == Row("V", "CTP", 'North & "South"')
    assert len(again.rows) > 400
    for tag, row in again.rows.items():
        assert ctp.STRICT[row.action] >= ctp.STRICT[TABLE[tag].action] if tag in TABLE else True
