"""Ranks of right answers and the best items of a ranking, exact in the presence of ties."""
