"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

forms.py                   which texts name an architecture; no torch
by_name.py                 START HERE: torchvision:NAME, timm:NAME, hf:FOLDER, package.module:factory, ./net.py:factory
of_torchvision.py          torchvision's classifiers
of_timm.py                 timm's models
of_transformers.py         transformers' image classifiers, in a folder or in the hub's cache
hub_cache.py               the files of a model hub's repositories on this machine
processor_files.py         preprocessing as a transformers processor does it
brought.py                 what the library of a network states: input, class names, scores
completing.py              fills a card with what the library states
zero_shot.py               a network whose classes are sentences, and the encoder of these sentences
zero_shot_sources.py       clip:FOLDER, and modules with an image tower and a text tower
zero_shot_transformers.py  CLIP-like models of transformers
zero_shot_open_clip.py     CLIP-like models of open_clip
zero_shot_input.py         the input of CLIP-like models, as the files of their processors state it
factories.py               networks of the user
hints.py                   what to write instead of names from other libraries
other_kinds.py             what to do with files that camserve cannot load: TorchScript, Keras, TensorRT; no torch
"""
