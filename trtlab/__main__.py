"""``python -m trtlab``: the command line."""

import sys
from pathlib import Path

import trtlab

# ``-m`` puts the current folder in front of the import path: a file that lies beside a model
# there (onnx.py) must not be imported, unless the folder is where trtlab itself lies.
if Path.cwd() not in Path(trtlab.__file__).parents:
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry) != Path.cwd()]

from trtlab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
