"""A widget for notebooks: the page's live canvas. The library anywidget is known only under this folder.

widget.py        START HERE: what Python and the browser both know of it: the choices, and what is drawn
one_module.py    modules of JavaScript as one text, which is what a widget may have
"""
