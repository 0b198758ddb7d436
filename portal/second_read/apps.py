from django.apps import AppConfig


class SecondReadConfig(AppConfig):
    name = "portal.second_read"
    verbose_name = "Second read"
