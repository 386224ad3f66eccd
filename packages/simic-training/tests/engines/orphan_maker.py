"""Starts workers, gives them work that never ends, and waits to be killed. Usage: orphan_maker.py FOLDER"""

import sys
from pathlib import Path

from odd_jobs import at_work, do

from simic_training.engines.local import LocalEngine
from simic_training.engines.unit import Unit

if __name__ == "__main__":
    units = [Unit("", (Path(sys.argv[1]), 9))] * 2
    do(LocalEngine(2), at_work, b"", units)
