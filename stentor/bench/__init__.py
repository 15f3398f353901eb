"""``stentor bench``: measures throughput and latency from outside, through the API.

``scenarios`` plans which texts are sent when, ``recording`` sends them and records their outcomes, ``summary`` computes
the results, ``plots`` draws them, and ``own`` starts a temporary stack to measure.
"""
