#!/bin/sh
# pydicom's apply_voi_lut takes the number of an entry modulo 65536, or modulo 256 where entries have 8 bits, before it
# looks the entry up. By DICOM PS3.3 C.11.2.1.1 values above a table get its last entry, as a comment in pydicom says.
# Where rescaled values go beyond 65535, as those of PET do, the brightest spots come out black, without a word. Of a
# table of 4096 entries of 8 bits only 256 are used; here each has a word of 16 bits, a form that the standard notes as
# that of some programs, and the one of 8 bits that pydicom reads.
# The good guess that this refutes: "what lies above a table of greys is as white as its last entry".
# Ends with 0 while the behaviour is as described, with 1 once it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydicom==3.0.2 "numpy>=2,<3"
"$folder/venv/bin/python" -W error - <<'PYTHON'
import io
import sys

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, PositronEmissionTomographyImageStorage, generate_uid

print(f"pydicom {pydicom.__version__}, NumPy {np.__version__}")


def read(stored, slope, table, bits):
    """A file of one picture with a rescale slope and a table of greys, as pydicom reads it back."""
    item, data = pydicom.Dataset(), pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(table), 0, bits])
    item.add_new("LUTData", "OW", np.asarray(table, "<u2").tobytes())
    data.SOPClassUID, data.SOPInstanceUID = PositronEmissionTomographyImageStorage, generate_uid()
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.RescaleSlope, data.RescaleIntercept = slope, 0
    data.VOILUTSequence = [item]
    data.add_new("PixelData", "OW", stored.astype("<u2").tobytes())
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def by_the_standard(values, table):
    """Values below the table get its first entry, those above it its last."""
    return np.asarray(table)[np.clip(values, 0, len(table) - 1)]


def compare(name, stored, slope, table, bits):
    """Which greys differ from the standard's, and the values that they are of."""
    data = read(np.array([stored]), slope, table, bits)
    values = np.rint(apply_modality_lut(data.pixel_array, data)).astype(np.int64)
    found, expected = apply_voi_lut(values, data).astype(int), by_the_standard(values, table)
    print(f"{name}:")
    for title, row in {"values": values, "pydicom": found, "standard": expected}.items():
        print(f"  {title:8} {row[0].tolist()}")
    return found != expected, values


wide = [16 * entry for entry in range(4096)]
wrong, values = compare("4096 entries of 16 bits", [0, 1000, 4095, 10000, 32767, 32768, 33000, 34000], 2, wide, 16)
as_described = np.array_equal(wrong, (values > 65535) & (values % 65536 < 4095))
narrow = [entry * 255 // 4095 for entry in range(4096)]
wrong, values = compare("4096 entries of 8 bits", [0, 100, 255, 256, 300, 2048, 4094, 4095], 1, narrow, 8)
as_described &= np.array_equal(wrong, values > 255)
sys.exit(not as_described)
PYTHON
