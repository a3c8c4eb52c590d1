"""Options and configuration files: one parser for all verbs, and errors that say where a mistake is."""
