from django.apps import AppConfig


class ConsensusConfig(AppConfig):
    name = "portal.consensus"
    verbose_name = "Consensus"

    def ready(self) -> None:
        from portal.archive.cohorts import guarded
        from portal.consensus.cohorts import FILTER
        from portal.read.findings import may

        guarded.register(FILTER, may)
