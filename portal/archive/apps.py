from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    name = "portal.archive"
    verbose_name = "Archive"
