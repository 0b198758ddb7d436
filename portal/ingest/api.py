"""REST: receipts and quarantine."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from portal.core.pagination import KeysetPagination
from portal.ingest import actions, queries
from portal.ingest.models import Receipt
from portal.ingest.serializers import ReceiptSerializer

FILTERS = [
    OpenApiParameter(name, str, description=f"Only receipts with this {name}.")
    for name in ("state", "source", "batch", "reason")
]


class NewestFirst(KeysetPagination):
    ordering = ("-received_at", "-pk")  # type: ignore[assignment]


@extend_schema(parameters=FILTERS)
class ReceiptList(generics.ListAPIView[Receipt]):
    """Received files, newest first."""

    serializer_class = ReceiptSerializer
    pagination_class = NewestFirst
    queryset = Receipt.objects.none()

    def get_queryset(self) -> QuerySet[Receipt]:
        return queries.receipts(self.request.user, self.request.GET)


class QuarantineList(generics.ListAPIView[Receipt]):
    """Files that were set aside and wait for a decision, newest first."""

    serializer_class = ReceiptSerializer
    pagination_class = NewestFirst
    queryset = Receipt.objects.none()

    def get_queryset(self) -> QuerySet[Receipt]:
        return queries.quarantine(self.request.user)


class _Decide(APIView):
    decide: Any = None

    def post(self, request: Request, pk: uuid.UUID) -> Response:
        receipt = queries.access_quarantined(request.user, pk)
        type(self).decide(request.user, receipt)
        return Response(ReceiptSerializer(receipt).data)


@extend_schema(request=None, responses=ReceiptSerializer)
class QuarantineRetry(_Decide):
    """Send a quarantined file on its way again."""

    decide = staticmethod(actions.retry)


@extend_schema(request=None, responses=ReceiptSerializer)
class QuarantineDiscard(_Decide):
    """Give a quarantined file up; its bytes are deleted."""

    decide = staticmethod(actions.discard)
