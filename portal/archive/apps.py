from django.apps import AppConfig


class ArchiveConfig(AppConfig):
    name = "portal.archive"
    verbose_name = "Archive"

    def ready(self) -> None:
        from portal.archive.lookups import register

        register()
