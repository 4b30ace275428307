"""What the files and folders of a batch's run are called, below OUT."""

# What a run depends on, its images in order, and its results: OUT with the first two holds a run.
RUN, INPUTS, RESULTS = "run.json", "inputs.jsonl", "results.jsonl"

# What is made of all of it: the page, its numbers, and those of an evaluation and of a comparison with another run.
PAGE, FINDINGS, COMPARISON = "index.html", "findings.json", "comparison.json"
EVALUATION = tuple(f"evaluation.{ending}" for ending in ("html", "json", "csv", "svg", "pdf"))

# What can be written of each explanation: the folder below OUT and the ending; None is that of the pictures' format.
KINDS: dict[str, tuple[str, str | None]] = {
    "overlay": ("overlays", None),
    "heatmap": ("heatmaps", ".png"),
    "mask": ("masks", ".png"),
    "npy": ("heat", ".npy"),
    "map": ("maps", ".npy"),
}
THUMBNAILS = "thumbnails"
# Of wrong answers: photograph, predicted, expected and their difference, side by side on one scale.
AGAINST = "against"
# Folders of what is written of single images; it is never a photograph to explain.
PICTURES = frozenset((THUMBNAILS, AGAINST, *(folder for folder, _ in KINDS.values())))
