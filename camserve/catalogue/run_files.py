"""The names of the files and folders of a batch run, below OUT."""

# What a run depends on, its images in order, and its results. A folder with the first two files holds a run.
RUN, INPUTS, RESULTS = "run.json", "inputs.jsonl", "results.jsonl"

# What is made from the results: the page, its numbers, the comparison with another run, and the evaluation.
PAGE, FINDINGS, COMPARISON = "index.html", "findings.json", "comparison.json"
EVALUATION = tuple(f"evaluation.{ending}" for ending in ("html", "json", "csv", "svg", "pdf"))

# The files that can be written of each explanation: the folder below OUT and the ending; None is the ending of the
# format of the pictures.
KINDS: dict[str, tuple[str, str | None]] = {
    "overlay": ("overlays", None),
    "heatmap": ("heatmaps", ".png"),
    "mask": ("masks", ".png"),
    "npy": ("heat", ".npy"),
    "map": ("maps", ".npy"),
}
THUMBNAILS = "thumbnails"
# The pictures of wrong answers: photograph, predicted, expected and their difference, side by side on one scale.
AGAINST = "against"
# The folders of files of single images; a file in them is never a photograph to explain.
PICTURES = frozenset((THUMBNAILS, AGAINST, *(folder for folder, _ in KINDS.values())))
