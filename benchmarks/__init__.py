"""Programs that measure: each writes a ledger `benchmarks/results/<name>.json`."""
