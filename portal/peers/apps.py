from django.apps import AppConfig


class PeersConfig(AppConfig):
    name = "portal.peers"
    verbose_name = "DICOM peers"
