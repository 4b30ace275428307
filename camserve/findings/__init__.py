"""What results.jsonl says: statistics, shortcuts, comparisons of runs, pages, exports. Runs no model.

results.py          one line an image in the order of the plan, each whole or not there
sketch.py           a map in 256 numbers
statistics.py       sums over maps, class by class
answers.py          the surest answers, how many are right, and the worst that are not
confusion.py        which class was answered with which: recall, precision, a matrix
shortcuts.py        classes that are looked for at one place, whatever the picture shows
covering.py         what covering such a place says: it decides, it does not, or nobody can tell
cannot_tell.py      what nobody can tell: maps of too few cells, classes of too few images
least_trusted.py    which maps can be trusted least, where a run asked
sentences.py        findings in English
findings.py         what a folder's maps show together: findings.json
map_distance.py     how far one map lies from another
run_comparison.py   one run against another, and whether the difference is still allowed
new_shortcuts.py    shortcuts of one run that another does not have
exports.py          results as CSV, Parquet and COCO, and where every export is listed
fiftyone_export.py  results as a dataset of FiftyOne
studio_export.py    results as tasks of Label Studio
report_page.py      the page of a run
comparison_page.py  the folder of a comparison: page, JSON, pictures
"""
