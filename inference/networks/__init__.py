"""Networks of the inference functions."""

from inference.networks.heatmap import HeatmapNetwork, HeatmapOutput
from inference.networks.malignancy import MalignancyNetwork
from inference.networks.pooling import LseLba, lse_lba

__all__ = ["HeatmapNetwork", "HeatmapOutput", "LseLba", "MalignancyNetwork", "lse_lba"]
