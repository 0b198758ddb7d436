"""REST shapes of the doors."""

from rest_framework import serializers

from portal.ingest.models import Receipt
from portal.ingest.rules import words


class ReceiptSerializer(serializers.ModelSerializer[Receipt]):
    """One received file; no value of its header."""

    source = serializers.CharField(source="source.name", read_only=True)  # type: ignore[assignment]
    words = serializers.SerializerMethodField(help_text="The reason in words, empty when there is none.")

    class Meta:
        model = Receipt
        fields = [
            "id", "state", "reason", "words", "detail", "source", "batch", "size", "digest", "sop_class", "modality",
            "received_at", "state_since", "study_uid", "sop_uid",
        ]  # fmt: skip
        read_only_fields = fields

    def get_words(self, receipt: Receipt) -> str:
        return words(receipt.reason) if receipt.reason else ""
