from django.apps import AppConfig


class DeidentifyConfig(AppConfig):
    name = "portal.deidentify"
    verbose_name = "Deidentify"
