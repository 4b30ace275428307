"""Why OpenVINO cannot read a model file, in one line."""

import re

# How lines of its errors begin that say nothing.
_EMPTY = (
    r"(Exception|Check|While|src/|Unable|FrontEnd API failed|Model wasn't fully|Summary|Errors during|Loading input)"
)
_MEANT = {
    r"QLinear|com\.microsoft\.Q": "Quantize it as QDQ (onnxruntime: quant_format=QuantFormat.QDQ)",
    r"external|Failed to open|file.*(exist|found)": "Weights kept outside belong beside it, under that name",
}
_NOTHING = "it says no reason: the file is damaged, cut off, or of another kind than its name says"


def reason(error: BaseException) -> str:
    """The line of OpenVINO's many that says something, and what to do about it."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines()]
    found = next((line[:300] for line in lines if line and not re.match(_EMPTY, line)), _NOTHING)
    return ". ".join([found.rstrip("."), *(words for pattern, words in _MEANT.items() if re.search(pattern, found))])
