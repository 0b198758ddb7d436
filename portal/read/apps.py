from django.apps import AppConfig


class ReadConfig(AppConfig):
    name = "portal.read"
    verbose_name = "Read"

    def ready(self) -> None:
        from portal.core import blinding
        from portal.read.sight import CONCERNS, hidden_studies

        blinding.register(hidden_studies, CONCERNS)
