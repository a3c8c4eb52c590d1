"""Reports with one thing changed, in English and Spanish: rules and how they are applied."""
