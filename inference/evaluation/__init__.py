"""Evaluation of inference functions: AUC with intervals, DICE against boxes, reports."""
