"""Which images there are and what is known of them: folders, tables, buckets, boxes and masks. No model.

inputs.py        a folder, a pattern, a list of files, or a table with a class for each
remote.py        images that are not on a disk of this machine: s3://, gs://, hdfs://
ground_truth.py  where the object of each image is, as boxes or masks, and how much heat lies beside it
"""
