"""From a checkpoint to a card that can be trusted: add, calibrate, known answers.

new_model.py      from a checkpoint to a folder with a card, tried out before anything is written
new_card.py       its card, as text
finding_input.py  the input that a network was trained with, found with labelled photographs
photo_trials.py   preprocessings, tried on photographs whose class is known
labelled_photos.py  photographs whose class is known
known_answers.py  does a model still say what its card says it says?
new_words.py      a model of images and sentences, added
calibration.py    where the cells of a trained network really sit
stimuli.py        objects at known places on a plain background
"""
