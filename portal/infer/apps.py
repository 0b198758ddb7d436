from django.apps import AppConfig


class InferConfig(AppConfig):
    name = "portal.infer"
    verbose_name = "Infer"
