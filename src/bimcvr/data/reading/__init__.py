"""Volumes from files: voxels in HU, geometry in mm, or a refusal by name."""
