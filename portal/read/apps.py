from django.apps import AppConfig


class ReadConfig(AppConfig):
    name = "portal.read"
    verbose_name = "Read"
