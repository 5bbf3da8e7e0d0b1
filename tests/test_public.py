"""The public face: names, what an import loads, files at the top level that must agree."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import trtlab

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def modules():
    found = pkgutil.walk_packages(trtlab.__path__, "trtlab.")
    # The training script needs torch, which trtlab does not.
    return [m.name for m in found if ".training" not in m.name and m.name != "trtlab.__main__"]


def test_every_public_name_is_callable_after_every_module_was_imported():
    for module in modules():
        importlib.import_module(module)
    for name in set(trtlab.__all__) - {"panels"}:
        assert callable(getattr(trtlab, name)), name
    for name in dir(trtlab.panels):
        assert callable(getattr(trtlab.panels, name)), name


def test_no_public_name_is_a_module():
    top = {m.removeprefix("trtlab.") for m in modules() if m.count(".") == 1}
    assert not top & set(trtlab.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nothing_like_it"):
        getattr(trtlab, "nothing_like_it")  # noqa: B009 - the access itself is under test


@pytest.mark.parametrize(
    "code", ["import trtlab", "import trtlab.cli", "import trtlab.verbs.sweep"]
)
def test_import_loads_nothing_native_or_heavy(code):
    heavy = "onnx onnxruntime numpy pandas plotly ipywidgets anywidget torch tensorrt_rtx"
    found = f"sorted(set({heavy.split()}) & set(sys.modules))"
    script = f"import sys, json; {code}; print(json.dumps({found}))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert json.loads(said.stdout) == []


def test_environment_yml_agrees_with_the_extras():
    text = (ROOT / "environment.yml").read_text()
    listed = set(re.findall(r"^ +- ([a-z0-9-]+)", text, re.MULTILINE))
    asked = (
        "tensorrt tensorrt-rtx-cu13 cuda-python jupyterlab ipywidgets plotly pandas onnx netron"
    )
    assert set(asked.split()) <= listed
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["lab"], *extras["cpu"], *extras["rtx"]]
    versions = dict(re.findall(r"^ +- ([a-z0-9_-]+) ?(>=[0-9.]+)", text, re.MULTILINE))
    for requirement in needed:
        name, least = re.fullmatch(r"([a-z0-9_-]+)(>=[0-9.]+)", requirement).groups()
        assert versions.get(name) == least, f"{name}: {versions.get(name)} is not {least}"


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+", line), line


def test_the_extras_that_were_asked_for_exist():
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"cpu", "gpu", "rtx", "tensorrt", "lab", "dask", "test", "dev"}
    assert not any(";" in r for r in extras["rtx"]), "pip itself must say where there is no wheel"


def test_links_in_the_documents_lead_somewhere():
    for document in ROOT.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in link:
                assert (ROOT / link).exists(), f"{document.name}: {link}"


def test_architecture_names_every_module():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in (ROOT / "trtlab").iterdir():
        if path.suffix == ".py" and not path.name.startswith("__"):
            assert f"`{path.name}`" in text or path.stem in text, path.name
        elif path.is_dir() and (path / "__init__.py").exists():
            assert f"{path.name}/" in text, path.name


def test_notebooks_carry_no_outputs_and_no_widget_state():
    notebooks = list((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        book = json.loads(path.read_text())
        assert "widgets" not in book["metadata"]
        for cell in book["cells"]:
            assert not cell.get("outputs")
            if cell["cell_type"] == "code":
                assert 1 <= len(cell["source"]) <= 5, f"{path.name}: a long cell"


def test_tensorrt_rtx_can_be_imported():
    done = subprocess.run(
        [sys.executable, "-c", "import tensorrt_rtx; print(tensorrt_rtx.__version__)"],
        capture_output=True,
        text=True,
    )
    if done.returncode and "rtx" not in os.environ.get("TRTLAB_REQUIRE", "").split(","):
        pytest.skip("TensorRT-RTX is not installed: pip install -e '.[rtx]'")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split(".")[0]) >= 1
