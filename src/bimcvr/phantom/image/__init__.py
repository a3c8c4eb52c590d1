"""The voxels of a phantom: body, organs, findings."""
