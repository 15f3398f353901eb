"""The front: reads whole requests on an event loop, and hands each to Flask in a thread.

A thread is held only while Flask works. Heads and bodies that come slowly, silent connections and clients that read
slowly cost a socket each. From the outside in:

    server.py   granian, its processes and its settings
    app.py      the ASGI application: probes, bodies, Flask
    body.py     a request's body: its limit and its deadline
    wsgi.py     one call of a WSGI application, its answer sent at the client's pace
    client.py   whether the client is still there
"""
