"""Inference functions: networks, phantoms, packages, training and evaluation, without Django."""

__version__ = "0.1.0"
