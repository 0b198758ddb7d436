from django.apps import AppConfig


class FunctionsConfig(AppConfig):
    name = "portal.functions"
    verbose_name = "Functions"
