"""What the files and folders of a batch's run are called, below OUT."""

# What a run depends on, its images in order, and its results: OUT with the first two holds a run.
RUN, INPUTS, RESULTS = "run.json", "inputs.jsonl", "results.jsonl"

# What can be written of each explanation: the folder below OUT and the ending; None is that of the pictures' format.
KINDS: dict[str, tuple[str, str | None]] = {
    "overlay": ("overlays", None),
    "heatmap": ("heatmaps", ".png"),
    "mask": ("masks", ".png"),
    "npy": ("heat", ".npy"),
    "map": ("maps", ".npy"),
}
THUMBNAILS = "thumbnails"
# Folders of what is written of single images; it is never a photograph to explain.
PICTURES = frozenset((THUMBNAILS, *(folder for folder, _ in KINDS.values())))
