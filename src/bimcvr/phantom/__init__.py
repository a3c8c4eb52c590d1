"""A procedural chest-CT cohort with reports."""
