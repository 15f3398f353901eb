"""The embedded stack: a real Valkey, a real S3 and all rooms of Stentor on one machine, started and kept running."""

from stentor.local.servers.neighbours import Neighbours, neighbours

__all__ = ["Neighbours", "neighbours"]
