"""Ways out for probability maps: DICOM objects that refer to the scan, and pictures.

`objects_of` makes Segmentations, Parametric Maps and Secondary Captures of a MapSet, `picture` draws it. Nothing
here needs PyTorch or a package: portals make the same objects of stored matrices.
"""

from inference.explain.maps import NOTICE, MapSet, NoMaps, maps_of

__all__ = ["NOTICE", "MapSet", "NoMaps", "maps_of"]
