"""A subject that must turn the runner red: its queue gives the newest item first. Otherwise it is right."""
