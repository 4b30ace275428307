"""Why OpenVINO cannot read a model file, in one line."""

import re

# Starts of lines in OpenVINO's errors that tell nothing.
_EMPTY = (
    r"(Exception|Check|While|src/|Unable|FrontEnd API failed|Model wasn't fully|Summary|Errors during|Loading input)"
)
_MEANT = {
    r"QLinear|com\.microsoft\.Q": "Quantize it as QDQ (onnxruntime: quant_format=QuantFormat.QDQ)",
    r"external|Failed to open|file.*(exist|found)": "Put files of external weights beside it, under their own names",
}
_NOTHING = "it gives no reason: the file is damaged, cut off, or not of the kind that its name says"


def reason(error: BaseException) -> str:
    """The line of OpenVINO's error that names the reason, and what to do about it."""
    lines = [line.strip().removeprefix("-- ") for line in str(error).splitlines()]
    found = next((line[:300] for line in lines if line and not re.match(_EMPTY, line)), _NOTHING)
    return ". ".join([found.rstrip("."), *(words for pattern, words in _MEANT.items() if re.search(pattern, found))])
