"""What was tried to find small findings, with the code of what lost: docs/strong.md has the figures."""
