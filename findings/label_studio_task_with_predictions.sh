#!/bin/sh
# Label Studio's SDK says of no task with predictions whether it is valid. LabelInterface.validate_task calls
# validate_prediction and validate_annotation without what they are to look at, so every task that has predictions or
# annotations ends in a TypeError, also with an empty list of them. The prediction alone, and the task without it, pass.
# The good guess that this refutes: "before an import of pre-annotated images, validate_task checks each whole task".
# Check the data and each prediction apart.
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check label-studio-sdk==2.1.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

from label_studio_sdk.label_interface import LabelInterface

print(f"label-studio-sdk {version('label-studio-sdk')}")
CLASSES = '<Choices name="class" toName="image"><Choice value="cat"/><Choice value="dog"/></Choices>'
interface = LabelInterface(f'<View><Image name="image" value="$image"/>{CLASSES}</View>')
answer = [{"id": "1", "from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}]
prediction = {"model_version": "one", "score": 0.9, "result": answer}
task = {"data": {"image": "cat.jpg"}}


def said(check, *given):
    """What a check says, or the kind of its error."""
    try:
        return check(*given)
    except TypeError as error:
        print(f"  TypeError: {error}")
        return TypeError


found = {
    "the task without predictions": said(interface.validate_task, task),
    "the prediction alone": said(interface.validate_prediction, prediction),
    "the task with the prediction": said(interface.validate_task, {**task, "predictions": [prediction]}),
    "the task with an annotation": said(interface.validate_task, {**task, "annotations": [{"result": answer}]}),
    "the task with no prediction in its list": said(interface.validate_task, {**task, "predictions": []}),
}
for what, answered in found.items():
    print(f"{what}: {answered}")
sys.exit(list(found.values()) != [True, True, TypeError, TypeError, TypeError])
PYTHON
