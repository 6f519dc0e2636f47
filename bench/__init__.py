"""Benchmarks: every row times an operation of ours and the same of its peer, interleaved, in one run."""
