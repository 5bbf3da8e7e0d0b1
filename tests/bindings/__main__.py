"""Hold the hand-written types against the TensorRT versions at hand; one line for each."""

import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bindings.conformance import (
    NOT_EVERYWHERE,
    PROBED,
    conformance,
    installed,
    mypy,
    protocol_of,
)
from tests.bindings.stubs import FOLDER, of_installed, of_published

PUBLISHED = "10.13.0.35"
RELEASE = f"{PUBLISHED}.1"


def published() -> Path:
    """Stubs of an old version, by others and under the MIT licence, without TensorRT itself."""
    raw = FOLDER / PUBLISHED
    if not (raw / "tensorrt_bindings").is_dir():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        where = ["--no-deps", "--target", str(raw), f"tensorrt-stubs=={RELEASE}"]
        subprocess.run([*pip, *where], check=True)
    return of_published("tensorrt", PUBLISHED, raw)


def check(name: str, module: str, stubs: Path) -> bool:
    """Print whether every Protocol fits."""
    probed = frozenset() if module == "tensorrt_rtx" else frozenset({*PROBED, *NOT_EVERYWHERE})
    with tempfile.TemporaryDirectory() as folder:
        text = conformance(module, without=probed)
        (errors,) = mypy(Path(folder), {"fits.py": text}, stubs).values()
    print(f"{name}: {'accepted' if not errors else 'differs'}")
    for error in errors:
        number, _, message = error.partition(": ")
        print(f"  {protocol_of(text, int(number))}: {message}")
    return not errors


def main() -> int:
    """Check every version at hand."""
    fits = [check(f"tensorrt {PUBLISHED}, published stubs", "tensorrt", published())]
    for module in ("tensorrt", "tensorrt_rtx"):
        if installed(module):
            version = importlib.import_module(module).__version__
            fits.append(check(f"{module} {version}, installed", module, of_installed(module)))
        else:
            print(f"{module}: not installed, not checked")
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
