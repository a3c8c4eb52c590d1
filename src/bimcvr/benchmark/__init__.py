"""Suites of experiments: run what lacks, then the paper's tables, figures and one page."""
