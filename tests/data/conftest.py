import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for place in (str(HERE), str(HERE.parents[1])):  # test helpers, and the benchmarks' file mutators
    if place not in sys.path:
        sys.path.insert(0, place)
