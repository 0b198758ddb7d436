from django.apps import AppConfig


class ProgrammesConfig(AppConfig):
    name = "portal.programmes"
    verbose_name = "Programmes"
