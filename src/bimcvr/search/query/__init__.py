"""From a query to ranked studies."""
