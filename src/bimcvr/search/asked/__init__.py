"""What a query asks: its words, the label that it names, and what it wants present or absent."""
