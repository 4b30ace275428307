"""Everything that is computed from results.jsonl: statistics, shortcuts, comparisons, pages, exports. Runs no model.

results.py          reads and writes results.jsonl: one line per image
sketch.py           a map as 256 numbers
statistics.py       sums over the maps of each class
answers.py          how many answers are right, the answers with the best scores, the worst wrong answers
confusion.py        the confusion matrix, with recall and precision of each class
shortcuts.py        finds classes whose heat is at one place in every picture
covering.py         the verdict on a shortcut, from the scores with its place covered
cannot_tell.py      what a run cannot show: maps with too few cells, classes with too few images
least_trusted.py    the least trusted maps, if the run asked for trust
sentences.py        findings as English sentences
findings.py         the findings of a run: findings.json
map_distance.py     the distance between two maps
run_comparison.py   compares two runs, and checks the limits of change
new_shortcuts.py    shortcuts that run B has and run A does not
exports.py          results as CSV, Parquet and COCO, and the list of all exports
fiftyone_export.py  results as a dataset of FiftyOne
studio_export.py    results as tasks of Label Studio
report_page.py      the page of a run
comparison_page.py  the folder of a comparison: page, JSON, pictures
"""
