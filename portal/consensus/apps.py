from django.apps import AppConfig


class ConsensusConfig(AppConfig):
    name = "portal.consensus"
    verbose_name = "Consensus"
