"""A phantom cohort as an archive with the faults of real ones."""
