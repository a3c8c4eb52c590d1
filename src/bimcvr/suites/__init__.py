"""Running a suite of experiments and writing its tables."""
