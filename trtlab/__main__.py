"""``python -m trtlab``: the command line."""

from trtlab.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
