"""A widget for notebooks: the page's live canvas. Only this folder imports anywidget.

widget.py        START HERE: the traits that Python and the browser share: the choices, and the data to draw
one_module.py    joins JavaScript modules into one text, which a widget needs
"""
