"""A client of the HTTP API, for programs and for the command line."""

from stentor.client.client import Client
from stentor.client.jobs import SETTLED
from stentor.errors import Problem

__all__ = ["SETTLED", "Client", "Problem"]
