from django.apps import AppConfig


class ExportConfig(AppConfig):
    name = "portal.export"
    verbose_name = "Export"
