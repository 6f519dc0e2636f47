"""What a comparison looks like: as text, as one page, as data."""
