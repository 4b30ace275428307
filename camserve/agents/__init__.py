"""Tools for language models, over the Model Context Protocol. The library mcp is known only under this folder.

reach.py     which files a language model may name
tools.py     what each tool does, without the protocol: facts and a picture
protocol.py  the server: the tools as the protocol has them
"""
