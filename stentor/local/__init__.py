"""The embedded stack: starts Valkey, S3 and all rooms of Stentor on one machine, and keeps them running."""

from stentor.local.servers.neighbours import Neighbours, neighbours

__all__ = ["Neighbours", "neighbours"]
