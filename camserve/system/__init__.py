"""The machine: threads, cores, freed memory, clocks, and files that are never half written. No image, no model.

workers.py        the fixed pool of threads that owns the models
spare_workers.py  the steps of one long task, shared out between workers that have nothing else to do
deadlines.py      until when somebody waits for what a thread does
cores.py          how many cores this process has
allocation.py     what the C library does with memory that was freed
shortage.py       too little memory, as one error
kept.py           what is slow to make and is kept, each made once
ordered.py        several things under way at once, results in order, never more than a few held
timing.py         how long the steps of one explanation took
versions.py       the versions of everything that takes part in the numbers
files.py          files that are read only where they are files, and written so that they are whole or not there
folder_lock.py    who has a folder: one process that writes into it, or any number that read it
toml_sections.py  one section of a TOML file written anew, the rest kept byte for byte
json_values.py    values as JSON can hold them
"""
