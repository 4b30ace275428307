"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

forms.py                   which texts name an architecture; no torch
by_name.py                 START HERE: torchvision:NAME, timm:NAME, hf:FOLDER, package.module:factory, ./net.py:factory
of_torchvision.py          torchvision's classifiers
of_timm.py                 timm's models
of_transformers.py         transformers' image classifiers, in a folder or in the hub's cache
hub_cache.py               what of a hub's repositories is on this machine
processor_files.py         preprocessing as a transformers processor does it
brought.py                 what a network brings along: input, names of classes, scores
completing.py              a card with what a network brings along
zero_shot.py               words as classes: a network whose classes are sentences, and what reads those
zero_shot_sources.py       clip:FOLDER, and modules with a tower for images and one for text
zero_shot_transformers.py  CLIP-like models of transformers
zero_shot_open_clip.py     those of open_clip
zero_shot_input.py         their input, as the files of their processors state it
factories.py               networks of the user's own
hints.py                   what to write in place of names that other libraries take
other_kinds.py             what to do with files that are no model here: TorchScript, Keras, TensorRT; no torch
"""
