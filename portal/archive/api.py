"""REST: the list of scans."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import generics, serializers

from portal.archive import queries
from portal.archive.models import Study


class StudySerializer(serializers.ModelSerializer[Study]):
    longitudinal_quality = serializers.FloatField(source="patient.longitudinal_quality", read_only=True)

    class Meta:
        model = Study
        fields = [
            "id", "study_uid", "description", "modalities", "body_part", "study_date", "series_count",
            "instance_count", "state", "priority", "image_quality", "longitudinal_quality", "arrived_at",
        ]  # fmt: skip


class StudyList(generics.ListAPIView[Study]):
    """Scans that the user may see, newest first; `?modality=`, `?q=` narrow."""

    serializer_class = StudySerializer
    queryset = Study.objects.none()

    def get_queryset(self) -> QuerySet[Study]:
        return queries.filtered(self.request.user, self.request.GET).select_related("patient")


class StudyDetail(generics.RetrieveAPIView[Study]):
    """One scan."""

    serializer_class = StudySerializer
    queryset = Study.objects.none()
    lookup_field = "study_uid"

    def get_object(self) -> Any:
        return queries.access_study(self.request.user, self.kwargs["study_uid"])
