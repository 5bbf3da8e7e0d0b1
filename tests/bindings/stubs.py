"""Stubs of TensorRT's bindings, generated where it is installed, never committed.

What pybind11-stubgen writes is repaired, stripped of documentation, and kept in ``.stubs`` until
the version or this file changes. One change is more than a repair: TensorRT's classes become
trtlab's Protocols in every annotation. A Protocol can never stand where a class is asked for, so
without that no method with such a parameter would fit. Each class is compared with its Protocol
on its own, so nothing is taken for granted in a circle.
"""

import ast
import hashlib
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".stubs"
BINDINGS = "trtlab.backends.tensorrt.bindings"

PROTOCOLS = {
    "Builder": "Builder",
    "BuilderFlag": "BuilderFlag",
    "ComputeCapability": "ComputeCapability",
    "DataType": "DataType",
    "DeviceType": "DeviceType",
    "Dims": "Dims",
    "EngineInspector": "EngineInspector",
    "EngineStat": "EngineStat",
    "ErrorCode": "Enum",
    "ExecutionContextAllocationStrategy": "ExecutionContextAllocationStrategy",
    "HardwareCompatibilityLevel": "HardwareCompatibilityLevel",
    "IBuilderConfig": "BuilderConfig",
    "ICudaEngine": "Engine",
    "IExecutionContext": "ExecutionContext",
    "IHostMemory": "HostMemory",
    "ILayer": "Layer",
    "ILogger": "Logger",
    "ILogger.Severity": "Severity",
    "INetworkDefinition": "Network",
    "IOptimizationProfile": "OptimizationProfile",
    "IOutputAllocator": "OutputAllocator",
    "IPluginRegistry": "PluginRegistry",
    "IProfiler": "Profiler",
    "IProgressMonitor": "ProgressMonitor",
    "ITensor": "Tensor",
    "ITimingCache": "TimingCache",
    "LayerInformationFormat": "LayerInformationFormat",
    "LayerType": "Enum",
    "MemoryPoolType": "MemoryPoolType",
    "NetworkDefinitionCreationFlag": "NetworkDefinitionCreationFlag",
    "OnnxParser": "OnnxParser",
    "ParserError": "ParserError",
    "ProfilingVerbosity": "ProfilingVerbosity",
    "Runtime": "Runtime",
    "TacticSource": "TacticSource",
    "TensorIOMode": "TensorIOMode",
}
"""TensorRT's classes, and the Protocol that stands for each."""

UNRESOLVED = {
    ("OnnxParser", "get_error"): "ParserError",
    ("", "get_plugin_registry"): "IPluginRegistry",
}
"""Where the generator writes ``...`` for a class that was registered after its first use."""

MISSING = {
    # Iterable through __getitem__ alone, which mypy does not take for an Iterable.
    "Dims": "def __iter__(self) -> collections.abc.Iterator[int]: ...",
    # Implements the buffer protocol in C.
    "IHostMemory": "def __buffer__(self, flags: int, /) -> memoryview: ...",
    # Found by name when a subclass has them; the class itself has neither.
    "IOutputAllocator": """
def reallocate_output_async(
    self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int: ...
def notify_shape(self, tensor_name: str, shape: Dims) -> None: ...
""",
}
"""What a class has although no introspection shows it."""

OPTIONAL = {"progress_monitor", "profiler", "parent_phase"}
"""Attributes and parameters that may be None."""


class Repair(ast.NodeTransformer):
    """Mends annotations, and puts Protocols in the place of classes."""

    def __init__(self, protocols: dict[str, str]) -> None:
        self.protocols = protocols
        self.classes: list[str] = []

    def visit_ClassDef(self, node):
        self.classes.append(node.name)
        body = [each for each in node.body if not _is_text(each)]
        body += ast.parse(MISSING.get(".".join(self.classes), "")).body
        node.body = [self.visit(each) for each in body] or [ast.Pass()]
        self.classes.pop()
        return node

    def visit_FunctionDef(self, node):
        node.body = [ast.Expr(ast.Constant(...))]
        key = (".".join(self.classes), node.name)
        if key == ("ErrorCode", "name") and node.args.vararg:
            # In 10.x the enumeration's __str__ calls itself "name" and hides the property.
            return ast.parse("@property\ndef name(self) -> str: ...").body[0]
        for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            arg.annotation = self._annotation(arg.annotation, arg.arg, key)
        if node.name == "init_libnvinfer_plugins":  # takes what it calls a capsule from a logger
            node.args.args[0].annotation = self._annotation(ast.Name("ILogger"), "", key)
        node.returns = self._annotation(node.returns, node.name, key)
        return node

    def visit_AnnAssign(self, node):
        name = node.target.id if isinstance(node.target, ast.Name) else ""
        key = (".".join(self.classes), name)
        node.annotation = self._annotation(node.annotation, name, key)
        return node

    def _annotation(self, node, name, key):
        if node is None:
            return None
        if isinstance(node, ast.Constant) and node.value is ... and key in UNRESOLVED:
            node = ast.Name(UNRESOLVED[key])
        text = re.sub(r"[A-Za-z_][\w.]*", self._name, ast.unparse(node))
        if key == ("IOptimizationProfile", "set_shape") and name in ("min", "opt", "max"):
            text += " | tuple[int, ...] | list[int]"  # converted on the way in
        if name in OPTIONAL and text != "None":
            text += " | None"
        return ast.parse(text, mode="eval").body

    def _name(self, match):
        name = match[0]
        if name == "bool":  # the module has a DataType of that name
            return "builtins.bool"
        if name == "capsule":
            return "typing.Any"
        return f"_ours.{self.protocols[name]}" if name in self.protocols else name


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def repair(text: str) -> str:
    """Make Python of a stub, and put the Protocols in."""
    text = re.sub(r"^__all__.*$", "", text, flags=re.MULTILINE)  # would hide what is added below
    text = re.sub(r"\bin: ", "in_: ", text)
    changed = 1
    while changed:  # a default before a parameter that has none
        text, changed = re.subn(
            r"(\b\w+: [^,()=\n]+) = [^,()\n]+(, \w+: [^,()=\n]+[,)])", r"\1\2", text
        )
    tree = Repair(PROTOCOLS).visit(ast.parse(text))
    tree.body = [each for each in tree.body if not _is_text(each)]
    after = next(
        place
        for place, each in enumerate(tree.body)
        if not (isinstance(each, ast.ImportFrom) and each.module == "__future__")
    )
    extra = "import builtins, collections.abc, typing, typing_extensions, numpy\n"
    tree.body[after:after] = ast.parse(f"{extra}import {BINDINGS} as _ours").body
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def of_installed(module: str) -> Path:
    """Stubs of an installed module, made anew only when its version or this file changed."""
    version = importlib.import_module(module).__version__
    return _kept(module, version, lambda folder: _generate(f"{module}_bindings", folder))


def of_published(module: str, version: str, raw: Path) -> Path:
    """Stubs that someone else published."""
    return _kept(module, version, lambda folder: shutil.copytree(raw, folder, dirs_exist_ok=True))


def _kept(module: str, version: str, make) -> Path:
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    kept = FOLDER / f"{module}-{version}-{digest}"
    if not kept.is_dir():
        FOLDER.mkdir(exist_ok=True)
        for old in FOLDER.glob(f"{module}-{version}-*"):
            shutil.rmtree(old)
        making = kept.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        make(making / "raw")
        # One flat stub for the module: the package only hands on what its extension module has.
        (raw,) = making.glob(f"raw/{module}_bindings/{module}.pyi")
        text = repair(raw.read_text())
        text += "__version__: str\n"
        (making / f"{module}.pyi").write_text(text)
        shutil.rmtree(making / "raw")
        making.rename(kept)
    return kept


def _generate(package: str, folder: Path) -> None:
    # In a process of its own: the generator imports and walks the whole library.
    command = [sys.executable, "-m", "pybind11_stubgen", package, "--ignore-all-errors"]
    done = subprocess.run(
        [*command, "-o", str(folder)], capture_output=True, text=True, check=False, timeout=200
    )
    if done.returncode:
        raise RuntimeError(f"pybind11-stubgen failed on {package}:\n{done.stderr[-2000:]}")
