from django.apps import AppConfig


class ReadConfig(AppConfig):
    name = "portal.read"
    verbose_name = "Read"

    def ready(self) -> None:
        from portal.core import blinding
        from portal.read.sight import hides_model
        from portal.read.workitems.capabilities import register

        blinding.register(hides_model)
        register()
