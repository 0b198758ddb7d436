"""Reports with planted identities, each character of which is known."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.factories.planted import people
from tests.factories.planted.people import GREY, Person

ANNOUNCED = [
    "full",
    "full",
    "full",
    "comma",
    "initial",
    "last",
    "upper",
    "reversed",
    "misspelt",
]  # after a title or a label
LISTED = [
    "full",
    "comma",
    "caret",
    "upper",
    "lower",
    "reversed",
    "possessive",
    "last",
    "first",
    "misspelt",
    "letters",
    "initial",
]

HEADERS = [
    "PATIENT NAME: {patient}\nMRN: {id}\nDOB: {birth}\nACCESSION: {accession}\nEXAM DATE: {date}\nREFERRING "
    "PHYSICIAN: {doctor}\n\n",
    "Name: {patient}   Patient ID: {id}   Date of birth: {birth}\nStudy date: {date}   Acc. No. {accession}\n\n",
    "{hospital}\n{address}\nTel: {phone}\n\nRe: {patient}, born {birth}\n\n",
    "Patient: {patient} ({id})\nOrdering provider: {doctor}\nLocation: {hospital}\n\n",
    "Dear Dr. {doctor},\n\nThank you for referring {patient} (hospital number {id}), whom we saw on {date}.\n\n",
    "",
    "",
]
SENTENCES = [
    "Comparison is made to the study dated {date}.",
    "Comparison: CT chest {date} and radiograph of {date}.",
    "Comparison with the mammogram of {date} from {hospital}.",
    "The findings were discussed with Dr. {doctor} by telephone at 10:42 AM on {date}.",
    "Results were called to {doctor_full} at 3:15 pm.",
    "Critical result communicated to nurse {doctor} on {date} at 14:20.",
    "{patient_listed} is a 64-year-old with cough and fever.",
    "Mr. {other} reports increasing dyspnea.",
    "Mrs. {other} was accompanied by her daughter {other_full}.",
    "Next of kin: {other_full}, phone {phone}.",
    "Contact the patient at {phone} or {email}.",
    "The patient lives at {address}.",
    "Prior films were obtained at {hospital}.",
    "Transferred from {hospital} after a fall on {date}.",
    "Please correlate with accession number {accession_other}.",
    "See also report {accession_other} for the abdomen.",
    "Previous MRN {id_other} was merged into this record.",
    "SSN {ssn} was verified at registration.",
    "{patient_listed} has a history of Parkinson's disease.",
    "Status post lobectomy on {date}.",
    "Biopsy performed by Dr. {doctor} showed benign tissue.",
    "The patient, {patient_listed}, tolerated the procedure well.",
    "Case reviewed with {doctor_full}, M.D., who agrees.",
    "Images were sent to {hospital} on {date}.",
    "Pathology from {date} was reviewed.",
    "Pager {phone_labelled} if there are questions.",
    "A {old}-year-old patient with chest pain.",
    "His wife {other_full} called on {date}.",
    "Referred by {doctor_full} for evaluation of hematuria.",
    "Follow-up CT was recommended on {date} and again on {date}.",
    "Records from {hospital} were requested.",
    "Insurance member number {id_other}.",
    "Surgery in {year}, radiotherapy since {year}.",
    "Per {doctor_full}, MD, the drain may be removed.",
]
SIGNATURES = [
    "\n\nDictated by: {doctor_full}, MD\nElectronically signed by {doctor_full}, M.D. on {date}",
    "\n\nSigned: {doctor_full}\nTranscribed by {doctor_full} {date}",
    "\n\nRadiologist: {doctor_full}\n{hospital}",
    "\n\nReport electronically signed by Dr. {doctor} at 09:15 on {date}",
    "\n\nInterpreted by {doctor_full}. Questions: {phone}",
    "",
    "",
]
CLINICAL = [
    "The heart size is normal.",
    "The lungs are clear.",
    "No pleural effusion or pneumothorax.",
    "There is a 4 mm nodule in the right upper lobe.",
    "Mild degenerative changes of the thoracic spine.",
    "Stable postsurgical changes of the left breast.",
    "The liver is of normal size and attenuation.",
    "A 12 x 8 x 9 mm hypoechoic mass is seen at 2 o'clock, 4 cm from the nipple.",
    "T2 hyperintense lesion at L4-L5, grade 2.",
    "BI-RADS category 4B.",
    "SUVmax 4.8, previously 5.2.",
    "Scattered fibroglandular densities, ACR b.",
    "Endotracheal tube tip 3.5 cm above the carina.",
    "Right IJ central line with tip in the SVC.",
    "Cholelithiasis without cholecystitis.",
    "Unchanged bilateral adrenal adenomas.",
    "Findings are concerning for metastatic disease.",
    "Recommend clinical correlation and follow-up in 6 to 12 months.",
    "No acute intracranial hemorrhage.",
    "Moderate hydronephrosis with a 7 mm obstructing stone at the ureterovesical junction.",
    "Impression: 1. No acute cardiopulmonary abnormality.",
    "Technique: 120 kVp, 250 mAs, slice thickness 1.25 mm, 100 ml iohexol 350.",
    "FINDINGS: Lungs are hyperexpanded with flattened diaphragms.",
    "The patient may need a biopsy.",
    "White matter changes are within normal limits for age.",
    "The long head of the biceps tendon is intact.",
    "Little change since the prior study.",
    "Black blood sequences show no plaque.",
    "Green bile was aspirated.",
    "The young patient has thymic tissue.",
    "Hypermetabolic brown fat in the neck.",
    "Small hiatal hernia.",
    "Osteophytes at C5-C6 and C6-C7 with foraminal narrowing.",
    "Power port in the right chest wall.",
    "Gallbladder wall measures 2.1 mm, CBD 4 mm.",
    "EF 55 %, LVEDD 48 mm.",
    "INDICATION: Shortness of breath.",
]
TERMS = [
    "Known Parkinson's disease.",
    "History of Hodgkin lymphoma.",
    "Hodgkin's disease in remission.",
    "Down syndrome with atlantoaxial instability.",
    "Paget disease of the left hemipelvis.",
    "Crohn's disease of the terminal ileum.",
    "Cushing syndrome, evaluate adrenals.",
    "Baker cyst, 3 cm.",
    "Wilson disease.",
    "Graves disease with thyroid enlargement.",
    "Barrett esophagus.",
    "Colles fracture of the right wrist.",
    "Horner syndrome on the left.",
    "Schmorl's nodes at L1.",
    "Kerley B lines.",
    "Foley catheter in the bladder.",
    "Hill-Sachs deformity and Bankart lesion.",
    "Swan-Ganz catheter tip in the main PA.",
    "Dobhoff tube in the stomach.",
    "Ewing sarcoma of the femur.",
    "Hashimoto thyroiditis.",
    "Marfan syndrome with dilated root.",
    "Fleischner criteria apply.",
    "Gleason score 7.",
    "Bosniak II cyst.",
    "Breslow depth 1.2 mm.",
    "Alzheimer's disease.",
    "Kaposi sarcoma.",
    "Wilms tumor.",
    "Morton neuroma.",
    "Non-Hodgkin lymphoma.",
    "Possible Paget disease.",
    "Chiari I malformation.",
    "Brown tumor of the jaw.",
    "Marshall vein is patent.",
]


@dataclass
class Planted:
    """A text, and the (start, end, kind) of everything in it that identifies someone."""

    text: str
    spans: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass
class Cast:
    """Who stands in one report: the patient of the header, and people whom no header names."""

    patient: Person
    doctor: Person
    others: list[Person]


def cast(rng: random.Random) -> Cast:
    return Cast(people.person(rng), people.person(rng), [people.person(rng) for _ in range(3)])


def fill(template: str, who: Cast, rng: random.Random, out: Planted) -> None:
    """Append a template to the text, its slots filled and noted."""
    rest = template
    while "{" in rest:
        before, _, more = rest.partition("{")
        slot, _, rest = more.partition("}")
        out.text += before
        value, kind = slot_value(slot, who, rng)
        plant(out, value, kind)
    out.text += rest


def plant(out: Planted, value: str, kind: str) -> None:
    out.spans.append((len(out.text), len(out.text) + len(value), kind))
    out.text += value


def slot_value(slot: str, who: Cast, rng: random.Random) -> tuple[str, str]:
    other = rng.choice(who.others)
    match slot:
        case "patient":
            return who.patient.write(rng, [*ANNOUNCED, "caret"]), "name"
        case "patient_listed":
            return who.patient.write(rng, LISTED), "name"
        case "other":
            return other.write(rng, ["last", "full", "upper"]), "name"
        case "other_full":
            return other.write(rng, ["full"]), "name"
        case "doctor":
            return rng.choice([who.doctor, other]).write(rng, ["last", "full", "initial", "upper"]), "doctor"
        case "doctor_full":
            return rng.choice([who.doctor, other]).write(rng, ["full", "full", "initial"]), "doctor"
        case "id":
            return who.patient.number, "id"
        case "id_other":
            return people.number(rng), "id"
        case "ssn":
            return f"{rng.randrange(100, 899)}-{rng.randrange(10, 99)}-{rng.randrange(1000, 9999)}", "id"
        case "accession":
            return who.patient.accession, "accession"
        case "accession_other":
            return people.accession(rng), "accession"
        case "birth":
            return people.written(who.patient.birth, rng), "date"
        case "date":
            return people.written(people.day(rng), rng), "date"
        case "year":
            return str(people.day(rng).year), "date"
        case "phone":
            return people.phone(rng), "phone"
        case "phone_labelled":
            return f"{rng.randrange(10000, 99999)}", "phone"
        case "email":
            return people.email(who.patient, rng), "email"
        case "address":
            return people.address(rng), "address"
        case "hospital":
            return people.hospital(rng), "hospital"
        case "old":
            return str(rng.randrange(90, 109)), "age"
    raise KeyError(slot)


def report(seed: int, who: Cast | None = None) -> tuple[Planted, Cast]:
    """One report of own templates, the same for the same seed; one of eight in capitals, one of twelve without.

    who  the people of it; None: drawn, one patient of five with a surname that is a term too
    """
    rng = random.Random(seed)
    drawn, out = cast(rng), Planted("")
    if rng.random() < 0.2:
        drawn.patient.last = rng.choice(GREY)
    who = who or drawn
    fill(rng.choice(HEADERS), who, rng, out)
    body = rng.sample(CLINICAL, 6) + rng.sample(TERMS, 2) + rng.sample(SENTENCES, 5)
    rng.shuffle(body)
    for sentence in body:
        fill(sentence, who, rng, out)
        out.text += rng.choice([" ", " ", " ", "\n"])
    fill(rng.choice(SIGNATURES), who, rng, out)
    case = rng.random()
    flat = out.text.upper() if case < 0.125 else out.text.lower() if case < 0.2 else out.text
    if len(flat) == len(out.text):
        out.text = flat
    return out, who
