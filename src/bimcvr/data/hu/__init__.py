"""From native voxels to clean HU on canonical axes: geometry, padding, the reconstruction circle."""
