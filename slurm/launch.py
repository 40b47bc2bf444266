#!/usr/bin/env python3
"""Launch a pipeline on a SLURM cluster: the same as `shardmill launch`, for a checkout that is not installed.

    python slurm/launch.py negbench --input captions.csv --run data/runs/first --site slurm/sites/mine.yaml

It submits one job array per stage or phase and returns. Launching again submits what is neither finished nor in the queue.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from shardmill.cli.start import launch
from shardmill.util.exits import user_errors

if __name__ == "__main__":
    with user_errors():
        launch(prog_name="launch.py")
