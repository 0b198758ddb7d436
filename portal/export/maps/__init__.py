"""A run's probability maps as DICOM objects: Segmentation, Parametric Map, Secondary Capture."""
