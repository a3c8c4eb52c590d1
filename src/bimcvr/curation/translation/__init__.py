"""Translation of reports from Spanish to English, with checks of the result."""
