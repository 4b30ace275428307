"""Finds the images of a dataset, their classes and their objects: folders, tables, buckets, boxes, masks. No model.

inputs.py         START HERE: a folder, a pattern, a list of files, or a table with a class for each file
folders.py        the files of a folder, each once; follows links to folders
patterns.py       the files that a pattern matches, each once
batch_results.py  finds the places that hold results of a batch
tables.py         reads lists and tables: encodings, separators, blanks
naming.py         the names of an image's results
left_out.py       counts the files of a source that are not explained, by reason
scratch.py        a temporary database, for data that does not fit into memory
remote.py         images that are not on a disk of this machine: s3://, gs://, hdfs://
ground_truth.py   where the object of each image is, as boxes or masks
"""
