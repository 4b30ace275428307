"""results.jsonl and what it says: statistics, shortcuts, run against run, pages, exports. Runs no model.

results.py          one line an image in the order of the plan, each whole or not there
sketch.py           a map in 256 numbers
statistics.py       sums over maps, class by class
answers.py          the surest answers, and how many are right
shortcuts.py        classes that are looked for at one place, whatever the picture shows
sentences.py        findings in English
findings.py         what a folder's maps show together: findings.json
map_distance.py     how far one map lies from another
run_comparison.py   one run against another, and whether the difference is still allowed
exports.py          results as CSV, Parquet and COCO
report_page.py      the page of a run
comparison_page.py  the page of a comparison
"""
