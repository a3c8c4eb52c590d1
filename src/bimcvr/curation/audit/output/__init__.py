"""The audit for people: a page, a summary, pictures."""
