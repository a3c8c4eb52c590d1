"""What a training leaves for people: curves and a page."""
