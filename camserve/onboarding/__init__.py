"""From a checkpoint to a card that can be trusted: add, calibrate, known answers.

new_model.py      adds a model: from a checkpoint to a folder with a card, tested before anything is written
new_card.py       the text of the card
finding_input.py  finds the input that a network was trained with, using labelled photographs
photo_trials.py   tries preprocessings on photographs whose class is known
labelled_photos.py  reads photographs whose class is known
known_answers.py  checks whether a model still gives the answers in its card
new_words.py      adds a model of images and sentences
calibration.py    measures where the cells of a trained network are in the input
stimuli.py        objects at known places on a plain background
"""
