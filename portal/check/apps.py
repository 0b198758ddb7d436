from django.apps import AppConfig


class CheckConfig(AppConfig):
    name = "portal.check"
    verbose_name = "Input check"
