"""REST: the door for reports, as HL7 v2 messages or as JSON with the text; each lands like a scan."""

from __future__ import annotations

import uuid
from typing import IO, Any

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.core.errors import Refused
from portal.core.parsers import StorableJSONParser, fault
from portal.ingest.actions import receive_reports, source_for
from portal.ingest.dicomweb import organisation_of
from portal.ingest.models import Receipt, Source
from portal.ingest.report_form import LONGEST, BadReport, Told
from portal.ingest.report_hl7 import read_hl7
from portal.ingest.serializers import ReceiptSerializer

DATE = r"\d{4}-\d{2}-\d{2}"


class HL7Parser(BaseParser):
    """The bytes of an HL7 v2 message, bounded."""

    media_type = "x-application/hl7-v2+er7"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        raw = stream.read(settings.MAX_REPORT_BYTES + 1)
        if len(raw) > settings.MAX_REPORT_BYTES:
            raise ParseError(f"The message is longer than {settings.MAX_REPORT_BYTES >> 20} MiB.")
        return raw


class ReportSerializer(serializers.Serializer[Any]):
    """A report as text, and whose it is. Names in DICOM's order: family^given^middle."""

    text = serializers.CharField(max_length=LONGEST, trim_whitespace=False)
    patient_id = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    patient_issuer = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    patient_name = serializers.CharField(max_length=192, required=False, default="", allow_blank=True)
    patient_birth = serializers.RegexField(DATE, max_length=10, required=False, default="", allow_blank=True)
    patient_sex = serializers.ChoiceField(choices=["F", "M", "O"], required=False, default="", allow_blank=True)
    accession = serializers.CharField(max_length=16, required=False, default="", allow_blank=True)
    study_uid = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    study_date = serializers.RegexField(DATE, max_length=10, required=False, default="", allow_blank=True)
    description = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    referring = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)
    readers = serializers.ListField(
        child=serializers.CharField(max_length=64), max_length=20, required=False, default=list
    )
    institution = serializers.CharField(max_length=64, required=False, default="", allow_blank=True)


class Reports(APIView):
    """Reports come in as JSON, or as an HL7 v2 message ORU^R01 (x-application/hl7-v2+er7); one receipt for each.

    A report is filed with the scan that has its accession number, or its study UID. 202 when at least one was taken,
    200 when all were here already, 409 when all were set aside, 422 for what is no report.
    """

    parser_classes = [StorableJSONParser, HL7Parser]

    @extend_schema(
        request={"application/json": ReportSerializer, HL7Parser.media_type: OpenApiTypes.BINARY},
        responses={202: ReceiptSerializer(many=True)},
    )
    def post(self, request: Request) -> Response:
        source = source_for(request.user, organisation_of(request._request), Source.Kind.REPORT)  # type: ignore[arg-type]
        try:
            receipts = receive_reports(source, _told(request.data), uuid.uuid4())
        except BadReport as error:
            raise Refused("bad_report", str(error), status=422) from None
        states = {receipt.state for receipt in receipts}
        status = 202 if Receipt.State.RECEIVED in states else 200 if Receipt.State.DUPLICATE in states else 409
        return Response(ReceiptSerializer(receipts, many=True).data, status=status)


def _told(data: Any) -> list[Told]:
    if isinstance(data, bytes):
        return read_hl7(data)
    form = ReportSerializer(data=data)
    form.is_valid(raise_exception=True)
    return [_plainly(form.validated_data)]


def from_json(data: dict[str, Any]) -> Told:
    """The report of one JSON object. Raises BadReport, which names fields and quotes nothing."""
    if words := fault(data):
        raise BadReport(f"The JSON holds what cannot be kept: {words[1]}")
    form = ReportSerializer(data=data)
    if not form.is_valid():
        raise BadReport(f"In the JSON these fields are missing or not right: {', '.join(sorted(form.errors))}.")
    return _plainly(form.validated_data)


def _plainly(data: Any) -> Told:
    said = dict(data)
    for day in ("patient_birth", "study_date"):
        said[day] = said[day].replace("-", "")
    return Told(**{**said, "readers": tuple(said["readers"])})
