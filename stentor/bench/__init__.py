"""``stentor bench``: how much a machine speaks, and how soon, measured from outside through the API.

``scenarios`` says when which texts are sent, ``recording`` sends them and looks, ``summary`` makes figures of what was
seen, ``plots`` draws it, and ``own`` starts a stack of its own to be measured.
"""
