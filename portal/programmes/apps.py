from django.apps import AppConfig


class ProgrammesConfig(AppConfig):
    name = "portal.programmes"
    verbose_name = "Programmes"

    def ready(self) -> None:
        from portal.archive.cohorts import queries
        from portal.programmes.cohorts import offer

        queries.offer(offer)
