"""REST shapes of the input check."""

from __future__ import annotations

from rest_framework import serializers

from inference.check import CATEGORIES
from portal.check.actions import DECISIONS
from portal.check.models import SeriesCheck
from portal.check.queries import sentence


class SeriesCheckSerializer(serializers.ModelSerializer[SeriesCheck]):
    """What the check says of a series, what its header claims, and what was decided."""

    study_uid = serializers.CharField(source="study.study_uid", read_only=True)
    series_uid = serializers.CharField(source="series.series_uid", read_only=True)
    source = serializers.CharField(source="source.name", read_only=True, default="")  # type: ignore[assignment]
    words = serializers.SerializerMethodField(help_text="What stands against the series, empty when nothing does.")
    decided_by = serializers.CharField(source="decided_by.username", read_only=True, default="")
    version = serializers.CharField(source="check_made.version", read_only=True)
    weights_sha256 = serializers.CharField(source="check_made.weights_sha256", read_only=True)

    class Meta:
        model = SeriesCheck
        fields = [
            "id", "study_uid", "series_uid", "source", "state", "verdict", "words", "claimed", "claim_words", "found",
            "probability", "probabilities", "inverted", "rotation", "cut_off", "poor", "images", "category",
            "decided_by", "decided_at", "note", "checked_at", "version", "weights_sha256",
        ]  # fmt: skip
        read_only_fields = fields

    def get_words(self, row: SeriesCheck) -> str:
        return sentence(row)


class DecisionSerializer(serializers.Serializer[None]):
    """A decision about a series."""

    decision = serializers.ChoiceField(choices=sorted(DECISIONS))
    category = serializers.ChoiceField(choices=CATEGORIES, required=False, default="", allow_blank=True)
    note = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)
