from django.apps import AppConfig


class ScoreConfig(AppConfig):
    name = "portal.score"
    verbose_name = "Score"
