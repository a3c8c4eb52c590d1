"""Retrieval between 3D CT volumes and radiology reports."""

__version__ = "0.1.0"
