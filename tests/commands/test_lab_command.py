"""``trtlab lab --kiosk``: what it starts JupyterLab with. The browser test looks at the screen."""

import ast
import json
from pathlib import Path

import jupyterlab

from trtlab.cli import main


def kiosk_command(capsys):
    assert main(["lab", "--kiosk", "--json"]) == 0
    return json.loads(capsys.readouterr().out)["command"]


def value(command, option):
    (found,) = [part.partition("=")[2] for part in command if part.startswith(f"{option}=")]
    return found


def test_the_kiosk_opens_one_document_with_a_stylesheet_of_its_own(capsys):
    command = kiosk_command(capsys)
    assert value(command, "--LabApp.default_url") == "/doc/tree/notebooks/kiosk.ipynb"
    assert value(command, "--LabApp.custom_css") == "True"
    (folder,) = ast.literal_eval(value(command, "--ServerApp.tornado_settings"))[
        "static_custom_path"
    ]
    assert (Path(folder) / "custom.css").is_file()


def test_only_the_kiosk_does(capsys):
    assert main(["lab", "--json"]) == 0
    assert "kiosk" not in capsys.readouterr().out


def test_the_settings_are_ones_that_jupyterlab_has(capsys):
    folder = Path(value(kiosk_command(capsys), "--LabApp.app_settings_dir"))
    overrides = json.loads((folder / "overrides.json").read_text())
    assert overrides
    schemas = Path(jupyterlab.__file__).parent / "schemas"
    for plugin, settings in overrides.items():
        package, name = plugin.split(":")
        schema = json.loads((schemas / package / f"{name}.json").read_text())
        assert set(settings) <= set(schema["properties"]), plugin


def test_the_notebook_folds_its_code_away(capsys):
    folder = Path(value(kiosk_command(capsys), "--LabApp.app_settings_dir"))
    cells = json.loads((folder.parent / "kiosk.ipynb").read_text())["cells"]
    code = [cell["metadata"] for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(metadata["jupyter"]["source_hidden"] for metadata in code)
