"""REST: the door for reports, as HL7 v2 messages or as JSON with the text; each lands like a scan."""

from __future__ import annotations

import io
import uuid
from typing import IO, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.core.errors import Refused
from portal.core.parsers import StorableJSONParser
from portal.ingest import report_form
from portal.ingest.actions import receive, source_for
from portal.ingest.dicomweb import organisation_of
from portal.ingest.models import Receipt, Source
from portal.ingest.report_form import LONGEST, Told
from portal.ingest.serializers import ReceiptSerializer

MOST_BYTES = 4 << 20
DATE = r"\d{4}-\d{2}-\d{2}"


class HL7Parser(BaseParser):
    """The bytes of an HL7 v2 message, bounded."""

    media_type = "x-application/hl7-v2+er7"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        raw = stream.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise ParseError("The message is longer than 4 MiB.")
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
            told = [report_form.check(one) for one in _told(request.data)]
            files = [report_form.encode(one, source.organisation_id) for one in told]
        except report_form.BadReport as error:
            raise Refused("bad_report", str(error), status=422) from None
        batch = uuid.uuid4()
        receipts = [receive(source, io.BytesIO(file), batch=batch) for file in files]
        states = {receipt.state for receipt in receipts}
        status = 202 if Receipt.State.RECEIVED in states else 200 if Receipt.State.DUPLICATE in states else 409
        return Response(ReceiptSerializer(receipts, many=True).data, status=status)


def _told(data: Any) -> list[Told]:
    if isinstance(data, bytes):
        return report_form.read_hl7(data)
    form = ReportSerializer(data=data)
    form.is_valid(raise_exception=True)
    said = dict(form.validated_data)
    for day in ("patient_birth", "study_date"):
        said[day] = said[day].replace("-", "")
    return [Told(**{**said, "readers": tuple(said["readers"])})]
