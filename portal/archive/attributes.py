"""Which attribute belongs to which level, and what each level answers a search with (PS3.18 10.6.3.3)."""

from __future__ import annotations

import re
from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

# Patient, Patient Study and General Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2), without what de-identification
# always takes away.
_STUDY = """
    SpecificCharacterSet TimezoneOffsetFromUTC StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence
    InstanceAvailability ModalitiesInStudy ReferringPhysicianName ReferringPhysicianIdentificationSequence
    ConsultingPhysicianName StudyDescription ProcedureCodeSequence PhysiciansOfRecord NameOfPhysiciansReadingStudy
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence ReferencedStudySequence ReferencedPatientSequence
    PatientName PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID OtherPatientIDsSequence
    PatientBirthDate PatientBirthTime PatientSex OtherPatientNames EthnicGroup PatientComments PatientSpeciesDescription
    PatientBreedDescription QualityControlSubject PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified PatientAge PatientSize PatientWeight
    PatientBodyMassIndex MedicalAlerts Allergies SmokingStatus PregnancyStatus PatientState Occupation
    AdditionalPatientHistory PatientSexNeutered StudyInstanceUID StudyID ReasonForPerformedProcedureCodeSequence
    RequestingService AdmissionID ServiceEpisodeID ServiceEpisodeDescription NumberOfStudyRelatedSeries
    NumberOfStudyRelatedInstances ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialSubjectID
    ClinicalTrialTimePointID
"""
# General Series and General Equipment modules (PS3.3 C.7.3.1, C.7.5.1).
_SERIES = """
    Modality SeriesInstanceUID SeriesNumber Laterality SeriesDate SeriesTime PerformingPhysicianName ProtocolName
    SeriesDescription SeriesDescriptionCodeSequence OperatorsName ReferencedPerformedProcedureStepSequence
    RelatedSeriesSequence BodyPartExamined PatientPosition SmallestPixelValueInSeries LargestPixelValueInSeries
    RequestAttributesSequence PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
    PerformedProtocolCodeSequence Manufacturer InstitutionName InstitutionalDepartmentName StationName
    ManufacturerModelName ManufacturerDeviceClassUID DeviceSerialNumber SoftwareVersions GantryID SpatialResolution
    AnatomicalOrientationType NumberOfSeriesRelatedInstances
"""
# What an instance always answers with: table 10.6.3-5, its place, and the syntax in which it is kept.
_INSTANCE = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID InstanceAvailability TimezoneOffsetFromUTC RetrieveURL
    AvailableTransferSyntaxUID StudyInstanceUID SeriesInstanceUID InstanceNumber NumberOfFrames Rows Columns
    BitsAllocated
"""


def tag_of(name: str) -> str:
    """`PatientID` or `00100020` as `00100020`; empty when there is no such attribute. Private tags are taken."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        number = int(name, 16)
        known = number >> 16 & 1 or keyword_for_tag(number)
        return name.upper() if known else ""
    number = tag_for_keyword(name) or 0
    return f"{number:08X}" if number else ""


@lru_cache(maxsize=1024)
def vr_of(tag: str) -> str:
    """The value representation, the first where there is a choice; UN for private attributes."""
    try:
        return dictionary_VR(int(tag, 16))[:2]
    except KeyError:
        return "UN"


def keyword_of(tag: str) -> str:
    """The attribute's keyword, empty for private ones."""
    return keyword_for_tag(int(tag, 16))


STUDY_LEVEL = frozenset(tag_of(k) for k in _STUDY.split())
SERIES_LEVEL = frozenset(tag_of(k) for k in _SERIES.split())
INSTANCE_ANSWER = tuple(sorted(tag_of(k) for k in _INSTANCE.split()))
