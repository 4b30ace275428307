"""Files and folders that camserve cannot load: what each one is, and how to make a model from it. No torch.

This is the one table of such kinds, by the ends of their names; docs/models.md shows it.
"""

import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from camserve.errors import shown
from camserve.models.compiled.model_file import is_model_file

PAGE = "docs/models.md"


class Kind(NamedTuple):
    """suffixes: of file names. what: what it is. recipe: what to do, {path} is the file. anchor: a heading in PAGE."""

    suffixes: tuple[str, ...]
    what: str
    recipe: str
    anchor: str

    def in_words(self, path: Path) -> str:
        """What a file of this kind is, and what to do with it."""
        return f"{self.what}: {self.recipe.replace('{path}', str(path))} ({PAGE}#{self.anchor})"


CHECKPOINT = Kind(
    (".pth", ".pt", ".th", ".ckpt", ".safetensors", ".bin", ".pth.tar"),
    "a checkpoint, which needs the architecture that it was trained with",
    "camserve.load('torchvision:NAME', weights='{path}'), or `camserve add {path} --architecture torchvision:NAME`",
    "a-checkpoint",
)
SCRIPT = Kind(
    (".torchscript", ".ptl"),
    "a TorchScript program, whose layers camserve cannot read",
    "load the module that it was made from, camserve.load(module), or write it as net.onnx with torch.onnx.export",
    "torchscript-and-torchexport",
)
_IR_WEIGHTS = Kind((".bin",), "the weights of OpenVINO's IR", "name the .xml beside it", "a-model-file")
KINDS = (
    CHECKPOINT,
    SCRIPT,
    Kind(
        (".pt2", ".pte"),
        "a program of torch.export, whose layers camserve cannot read",
        "load the module that it was made from, camserve.load(module), or write it as net.onnx with torch.onnx.export",
        "torchscript-and-torchexport",
    ),
    Kind(
        (".keras", ".h5", ".hdf5"),
        "a file of Keras",
        "in Keras, keras.saving.load_model('{path}').export('net.onnx', format='onnx') writes one that loads",
        "a-keras-model",
    ),
    Kind(
        (".index", ".meta", ".data-00000-of-00001"),
        "a part of TensorFlow's checkpoint",
        "in TensorFlow, tf.saved_model.save(model, 'folder') writes a folder that loads",
        "a-keras-model",
    ),
    Kind(
        (".engine", ".plan", ".trt"),
        "an engine of TensorRT, compiled for one kind of GPU",
        "load the .onnx that it was built from",
        "a-model-file",
    ),
    Kind((".ort",), "a file of onnxruntime's own", "load the .onnx that it was made from", "a-model-file"),
    Kind(
        (".mlmodel", ".mlpackage", ".mlmodelc"),
        "a model of Core ML",
        "load the network that it was converted from, or write that network as net.onnx",
        "a-model-file",
    ),
    Kind(
        (".pdparams", ".pdiparams", ".params", ".caffemodel"),
        "weights of PaddlePaddle, MXNet or Caffe",
        "write the network as net.onnx with an exporter of its framework, such as paddle2onnx",
        "a-model-file",
    ),
    Kind(
        (".gguf", ".ggml"),
        "weights in the form of llama.cpp",
        "load the Hugging Face folder that it was converted from, 'hf:FOLDER' or 'clip:FOLDER'",
        "a-hugging-face-folder",
    ),
    Kind(
        (".msgpack", ".npz", ".npy", ".orbax"),
        "weights of JAX or NumPy, without a network",
        "put them into the network in torch, and load that module, or write the network as net.onnx",
        "your-own-module",
    ),
    Kind(
        (".pkl", ".pickle", ".joblib", ".dill"),
        "a pickled Python object, which camserve does not run",
        "if you trust it, open it in Python and load the module, camserve.load(module); a file of weights takes "
        "weights='{path}' with its architecture",
        "your-own-module",
    ),
    Kind(
        (".mar",),
        "an archive of TorchServe",
        "unzip it; load its weights with the class in its model file, as in `camserve add weights.pth -a "
        "./model.py:Net`",
        "a-checkpoint",
    ),
    Kind(
        (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"),
        "an archive",
        "unpack it, and name the model that is in it",
        "you-have-you-write",
    ),
    Kind((".py",), "a program", "name the class or function in it, '{path}:Net'", "your-own-module"),
)


def what_to_do(source: str | Path) -> str:
    """A sentence that says what a file or folder is that camserve cannot load, and how to make a model from it.

    "" if that is unknown. The file need not exist. If it exists, its content tells a checkpoint, a TorchScript program
    and the weights of IR apart.
    """
    path = Path(source)
    with suppress(OSError, ValueError):  # a text that cannot be a path
        if path.is_dir() and (said := _of_folder(path)):
            return said
    kind = kind_of(path)
    if kind is None:
        return ""
    begun = f"{shown(str(path))} is" if _is_there(path) else f"There is no file {shown(str(path))}, which would be"
    return f"{begun} {kind.in_words(path)}"


def kind_of(path: Path) -> Kind | None:
    """The kind of a file by its name, and by its content if the name is not enough; None if unknown."""
    name = path.name.lower()
    found = [kind for kind in KINDS for suffix in kind.suffixes if name.endswith(suffix) and name != suffix]
    if not found:
        return None
    if found[0] is not CHECKPOINT:
        return found[0]
    if name.endswith(".bin") and _is_there(path.with_suffix(".xml")):
        return _IR_WEIGHTS
    return SCRIPT if _is_script(path) else CHECKPOINT


def _is_script(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.split("/")[1:2] == ["code"] for name in file.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return False


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _of_folder(folder: Path) -> str:
    """What to write for a folder of another library, or for a folder with a model file."""
    if _is_there(folder / "open_clip_config.json"):
        return f"'{folder}' is a folder of open_clip: write 'clip:{folder}' ({PAGE}#sentences-as-classes)"
    if _is_there(folder / "config.json"):
        return (
            f"'{folder}' is a Hugging Face folder: write 'hf:{folder}', or 'clip:{folder}' where its classes are "
            f"sentences ({PAGE}#a-hugging-face-folder)"
        )
    inside = sorted(str(path) for path in folder.iterdir() if is_model_file(path.name))
    return (
        f"'{folder}' is a folder with a model file in it: write '{inside[0]}' ({PAGE}#a-model-file)" if inside else ""
    )
