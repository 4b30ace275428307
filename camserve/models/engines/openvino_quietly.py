"""OpenVINO, told not to report its use.

It reports to its makers unless told otherwise. Who explains photographs of others phones nobody: where its reporting
package cannot be imported, OpenVINO goes on without.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 - after the line above

__all__ = ["openvino"]
