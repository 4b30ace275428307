"""Architectures by name: from "torchvision:resnet18" to an untrained network, and the input it was made for.

by_name.py         START HERE: torchvision:NAME, timm:NAME, package.module:factory, ./net.py:factory
of_torchvision.py  torchvision's classifiers
of_timm.py         timm's models
factories.py       networks of the user's own
hints.py           what to write in place of names that other libraries take
"""
