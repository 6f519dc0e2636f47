"""CPython's own tests, run against a package that stands in for four of its modules."""
