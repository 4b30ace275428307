"""The machine: threads, cores, freed memory, clocks, and files that are never half written. No image, no model.

workers.py        the fixed pool of worker threads
spare_workers.py  the steps of one long task, divided among idle workers
deadlines.py      until when a caller waits for the work of a thread
cores.py          how many cores this process may use
allocation.py     when the C library gives freed memory back to the system
shortage.py       too little memory, as one error
kept.py           a cache of values that are slow to make, each made once
ordered.py        parallel tasks with results in order and bounded memory
timing.py         how long the steps of one explanation took
versions.py       the versions of everything that affects the numbers
files.py          read only regular files; write files completely or not at all
folder_lock.py    a lock on a folder: one process writes, or any number read
toml_sections.py  replace one section of a TOML file and keep the rest byte for byte
json_values.py    values as JSON can hold them
"""
