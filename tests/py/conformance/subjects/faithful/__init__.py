"""A subject to test the runner with: the standard library behind empty subclasses. Nothing may be held against it."""
