"""People who do not exist, and the forms in which consoles and technicians write them into images."""

from __future__ import annotations

import datetime as dt
import unicodedata
from dataclasses import dataclass

import numpy as np
from faker import Faker

LOCALES = ["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT"]
PLACES = ("General Hospital", "Radiology Centre", "Medical Center", "Klinikum", "Clinic", "Imaging")
CLINICAL = {
    "laterality": (
        "L", "R", "LEFT", "RIGHT", "R-MLO", "L-MLO", "LCC", "RCC", "R CC", "L CC", "RMLO", "LMLO", "LT", "RT",
    ),
    "technical": (
        "kVp 28", "mAs 80", "120 kV", "28 kVp 85 mAs", "AP UPRIGHT", "PORTABLE", "AP SUPINE", "PA ERECT", "LATERAL",
        "WL 40 WW 400", "Zoom 100%", "FOV 350 mm", "5.0 mm", "TR 4000 TE 90", "MI 1.2 TIS 0.4", "3.5 MHz", "Gain 60 dB",
        "Depth 12 cm", "T2W TSE", "AXIAL", "Se 3 Im 24", "FR 32 Hz", "Compression 110 N", "CHEST PA", "INSPIRATION",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """A patient with an examination; `header` holds what a DICOM header says of them."""

    family: str
    given: str
    patient_id: str
    born: dt.date
    examined: dt.date
    accession: str
    doctor: tuple[str, str]
    institution: str
    technician: tuple[str, str]
    elsewhere: str  # a hospital that the header does not name

    @property
    def header(self) -> dict[str, str]:
        return {
            "PatientName": f"{self.family}^{self.given}",
            "PatientID": self.patient_id,
            "PatientBirthDate": self.born.strftime("%Y%m%d"),
            "StudyDate": self.examined.strftime("%Y%m%d"),
            "AccessionNumber": self.accession,
            "ReferringPhysicianName": "^".join(self.doctor),
            "InstitutionName": self.institution,
        }

    def written(self, rng: np.random.Generator) -> list[tuple[str, str]]:
        """(kind, text) of what is burnt in: this patient's values, strangers, dates."""
        name = str(
            rng.choice(
                [
                    f"{self.family}^{self.given}", f"{self.family}, {self.given}", f"{self.given} {self.family}",
                    f"{self.family.upper()} {self.given.upper()}", f"{self.family.upper()}, {self.given[0]}.",
                    f"Name: {self.family}, {self.given}",
                ]
            )
        )  # fmt: skip
        number = str(rng.choice([self.patient_id, f"ID: {self.patient_id}", f"MRN {self.patient_id}"]))
        form = str(rng.choice(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d-%b-%Y", "%Y%m%d", "%d %b %y", "%b %d, %Y"]))
        born = str(rng.choice(["", "DOB ", "*", "Born: "])) + self.born.strftime(form)
        on = self.examined.strftime(form) + str(rng.choice(["", " 14:33", " 09:12:55"]))
        tech = str(rng.choice(["Tech: {0}. {1}", "{0}. {1} RT", "Op: {1}"])).format(
            self.technician[1][0], self.technician[0]
        )
        doctor = str(rng.choice(["Dr. {0}", "Ref: {0}", "DR {0}", "Dr {1} {0}"])).format(*self.doctor)
        wanted = [("name", name), ("id", number), ("date", born), ("date", on)]
        wanted += [
            ("doctor", doctor),
            ("stranger", tech),
            ("hospital", self.elsewhere),
            ("id", f"Acc {self.accession}"),
        ]
        return [wanted[i] for i in rng.permutation(len(wanted))]


def person(seed: int) -> Person:
    """The person of a seed."""
    rng = np.random.default_rng([seed, 501])
    fake = Faker(str(rng.choice(LOCALES)))
    fake.seed_instance(seed)
    born = dt.date(1935, 1, 1) + dt.timedelta(days=int(rng.integers(0, 365 * 70)))
    examined = dt.date(2015, 1, 1) + dt.timedelta(days=int(rng.integers(0, 365 * 9)))

    def last() -> str:
        return _plain(fake.last_name())

    return Person(
        family=last(),
        given=_plain(fake.first_name()),
        patient_id=str(rng.choice([f"{rng.integers(10**6, 10**8)}", f"MR{rng.integers(10**5, 10**6)}"])),
        born=born,
        examined=examined,
        accession=f"A{rng.integers(10**6, 10**7)}",
        doctor=(last(), _plain(fake.first_name())),
        institution=f"{last()} {rng.choice(PLACES)}",
        technician=(last(), _plain(fake.first_name())),
        elsewhere=f"{last()} {rng.choice(PLACES)}",
    )


def _plain(text: str) -> str:
    """ASCII alone: the consoles' fonts and OpenCV's have no other letters."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().strip() or "Doe"
