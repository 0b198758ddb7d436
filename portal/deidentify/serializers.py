"""REST shapes of de-identification."""

from typing import Any

from rest_framework import serializers

from portal.deidentify.models import SiteRules, TermChange
from portal.deidentify.term_actions import LONGEST, MOST
from portal.deidentify.text import KINDS


class SiteRulesSerializer(serializers.ModelSerializer[SiteRules]):
    """A version of the site's own rules."""

    by = serializers.CharField(source="by.username", read_only=True)
    loosen = serializers.BooleanField(
        write_only=True, default=False, help_text="Take rules that leave more than the profile does."
    )
    active = serializers.BooleanField(default=True, help_text="Whether it counts from now on.")

    class Meta:
        model = SiteRules
        fields = ["number", "text", "weaker", "note", "active", "by", "at", "loosen"]
        read_only_fields = ["number", "weaker", "at"]


class TermChangeSerializer(serializers.ModelSerializer[TermChange]):
    """A change of the lists; the terms are taken and never given back."""

    by = serializers.CharField(source="user.username", read_only=True)
    kind = serializers.ChoiceField(
        choices=sorted(KINDS), required=False, allow_blank=True, help_text="What a term of the black list is."
    )
    texts = serializers.ListField(
        child=serializers.CharField(max_length=LONGEST),
        max_length=MOST,
        required=False,
        write_only=True,
        help_text="The terms as they are written.",
    )
    terms = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        max_length=MOST,
        required=False,
        write_only=True,
        help_text="Keys of terms, to take them back, as a look at the lists shows them.",
    )

    class Meta:
        model = TermChange
        fields = ["id", "does", "which", "kind", "texts", "terms", "state", "number", "error", "by", "at"]
        read_only_fields = ["id", "state", "number", "error", "at"]


class CountSerializer(serializers.Serializer[Any]):
    action = serializers.CharField()
    word = serializers.CharField()
    elements = serializers.IntegerField()


class AttributeSerializer(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Keywords, items of sequences as [].")
    tag = serializers.CharField()
    action = serializers.CharField(help_text="D, Z, X, K, C or U of PS3.15 table E.1-1a.")
    word = serializers.CharField()
    rule = serializers.CharField()
    files = serializers.IntegerField()
    elements = serializers.IntegerField()


class TextSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    rule = serializers.CharField()
    times = serializers.IntegerField()


class KeptSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    files = serializers.IntegerField()


class PlaceSerializer(serializers.Serializer[Any]):
    box = serializers.ListField(child=serializers.IntegerField(), help_text="x0, y0, x1, y1 in pixels.")
    kind = serializers.CharField()
    word = serializers.CharField()
    rule = serializers.CharField()
    certainty = serializers.FloatField()


class ImageSerializer(serializers.Serializer[Any]):
    shape = serializers.ListField(child=serializers.IntegerField(), allow_null=True, help_text="Rows, columns.")
    files = serializers.IntegerField()
    places = PlaceSerializer(many=True)


class FaceSerializer(serializers.Serializer[Any]):
    done = serializers.CharField(help_text="replaced, none or open.")
    word = serializers.CharField()
    reason = serializers.CharField(help_text="Why nothing was replaced, as a code; empty where it was.")
    why = serializers.CharField()
    files = serializers.IntegerField()


class SummarySerializer(serializers.Serializer[Any]):
    """What was done to the files of a scan: attributes, places, rules and versions; no values."""

    files = serializers.IntegerField()
    profiles = serializers.ListField(child=serializers.CharField())
    header_rules = serializers.ListField(child=serializers.CharField())
    site_rules = serializers.ListField(child=serializers.IntegerField(), help_text="Versions of the site's own rules.")
    counts = CountSerializer(many=True)
    attributes = AttributeSerializer(many=True)
    texts = TextSerializer(many=True)
    kept = KeptSerializer(many=True)
    images = ImageSerializer(many=True)
    images_left_out = serializers.IntegerField()
    faces = FaceSerializer(many=True, help_text="Of CT and MR: what became of the face.")
