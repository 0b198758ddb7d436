from django.apps import AppConfig


class ReadConfig(AppConfig):
    name = "portal.read"
    verbose_name = "Read"

    def ready(self) -> None:
        from portal.archive.cohorts import guarded
        from portal.archive.cohorts import queries as cohorts
        from portal.core import blinding
        from portal.read import findings
        from portal.read.sight import CONCERNS, hidden_studies
        from portal.read.workitems.capabilities import register

        blinding.register(hidden_studies, CONCERNS)
        register()
        cohorts.register("finding", "Called present by models", findings.count)
        guarded.register(findings.FILTER, findings.may)
