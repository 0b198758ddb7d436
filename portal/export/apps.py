from django.apps import AppConfig


class ExportConfig(AppConfig):
    name = "portal.export"
    verbose_name = "Export"

    def ready(self) -> None:
        from portal.archive.cohorts import queries
        from portal.export.cohorts import offer

        queries.offer(offer)
