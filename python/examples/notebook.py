"""The steps of a notebook: a stage over a data frame, then a run as data frames. Run it with: python notebook.py"""

# %% A stage of one's own over three captions
from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd
from colours import CountColours

from shardmill import open_run, run_stage

captions = pd.DataFrame({"caption": ["A red kite above a grey beach", "Two dogs asleep", "A boy in a yellow coat"]})
print(run_stage(CountColours, captions, model="rules")[["caption", "colours"]])

# %% A stage that comes with Shardmill, over the same captions
print(run_stage("negbench.extract_objects", captions)[["caption", "objects", "reject_reason"]])

# %% A whole run, started as on the command line, and looked at as a data frame
import subprocess  # noqa: E402

folder = Path(tempfile.mkdtemp())
captions.to_csv(folder / "captions.csv", index=False)
command = [sys.executable, "-m", "shardmill", "launch", f"{Path(__file__).with_name('colours.py')}:PIPELINE"]
subprocess.run([*command, "--input", str(folder / "captions.csv"), "--run", str(folder / "run"), "--workers", "1"], check=True)

run = open_run(folder / "run")
print(run.stages)
print(run.stage("count_colours").to_pandas())
print(run.stage("count_colours").rejects())
for step in run.explain(0):
    print(step.stage, step)
