"""Where in a volume a model looks for a query, and how well that place agrees with the finding's."""
