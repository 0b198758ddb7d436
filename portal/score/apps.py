from django.apps import AppConfig


class ScoreConfig(AppConfig):
    name = "portal.score"
    verbose_name = "Score"

    def ready(self) -> None:
        from portal.consensus import weights
        from portal.score.queries import reader_weights

        weights.register(reader_weights)
