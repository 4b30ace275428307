"""OpenVINO without its telemetry.

By default OpenVINO sends usage data to its makers. camserve must not do so, as its users explain other people's
photographs. If OpenVINO cannot import its telemetry package, it works without it.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 - after the line above

__all__ = ["openvino"]
