"""The kind of a file from its first bytes: formats that camserve reads, and formats that people send by mistake."""

import re

_SIGNATURES = {  # how files begin; a narrow pattern comes before a wider one
    "DICOM": rb".{128}DICM",  # the first 128 bytes may be anything, often the header of a TIFF
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF.{4}WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "camera raw": rb"II\*\0.{4}CR|.{4}ftypcrx|FUJIFILM|IIR[OS]|MMOR|IIU\0|\0MRM|FOVb",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb".{4}ftyp(.{4}){0,16}?avi[fs]",
    "HEIC": rb".{4}ftyp(he[iv]|mif1|msf1)",
    "video": rb".{4}ftyp|RIFF.{4}AVI |\x1aE\xdf\xa3",
    "JPEG 2000": rb".{4}jP  |\xff\x4f\xff\x51",
    "JPEG XL": rb".{4}JXL |\xff\x0a",
    "JPEG XR": rb"II\xbc\x01",
    "FITS": rb"SIMPLE  =",
    "NIfTI": rb".{344}(n\+1|ni1)\0",
    "OpenEXR": rb"v/1\x01",
    "Radiance HDR": rb"#\?(RADIANCE|RGBE)",
    "PGM, PPM or PFM": rb"P[1-7Ff]\s[#\s\d]",
    "NumPy array": rb"\x93NUMPY",
    "HDF5": rb"\x89HDF\r\n\x1a\n",
    "ICO": rb"\0\0\x01\0",
    "Photoshop": rb"8BPS",
    "PDF": rb"%PDF",
    "PostScript": rb"%!PS",
    "ZIP": rb"PK\x03\x04",
    "SVG": rb"\s*(<[?!].{0,400})?<svg",
    "HTML": rb"(?i)\s*<(!doctype )?html",
    "text": rb"[\t\n\r -~]+\Z",
}


def kind_of(data: bytes) -> str | None:
    """The kind of file that the first bytes of `data` show, such as "JPEG", "HEIC" or "text"; None if unknown."""
    kinds = (kind for kind, begin in _SIGNATURES.items() if re.match(begin, data[:512], re.DOTALL))
    return next(kinds, None)
