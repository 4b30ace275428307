"""Tools for language models, over the Model Context Protocol. Only this folder imports the library mcp.

reach.py     the files that a language model may name
tools.py     the tools, without the protocol: each returns facts and a picture
protocol.py  the server: the tools in the form of the protocol
"""
