"""Programs that measure: each writes a ledger `benchmarks/results/<name>.json`.

What is measured starts with nothing compiled, unless a program says otherwise.
"""

import os

os.environ.setdefault("SCIML_CACHE", "off")
