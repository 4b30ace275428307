"""Which images there are and what is known about them: folders, tables, buckets, boxes and masks. No model.

inputs.py         START HERE: a folder, a pattern, a list of files, or a table with a class for each
folders.py        the files of a folder, links to folders followed, and none twice
patterns.py       the files that a pattern matches, each once
batch_results.py  which places hold what a batch wrote
tables.py         lists and tables as people write them: encodings, separators, blanks
naming.py         what the results of an image are called
left_out.py       what a source holds besides, by reason
scratch.py        what does not fit into memory while images are looked for
remote.py         images that are not on a disk of this machine: s3://, gs://, hdfs://
ground_truth.py   where the object of each image is, as boxes or masks, and how much heat lies beside it
"""
