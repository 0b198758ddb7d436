"""Report texts of cases."""

from django.db import models
from django.utils import timezone

from portal.accounts.models import Organisation
from portal.programmes.models import Case


class Report(models.Model):
    """Text written from the settled answers by a template."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE)
    case = models.OneToOneField(Case, on_delete=models.CASCADE, related_name="report")
    template_id = models.CharField(max_length=40)
    template_version = models.CharField(max_length=16)
    text = models.TextField()
    written_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"report of {self.case_id}"
