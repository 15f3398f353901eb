"""The local stack: starts Valkey, S3 and all processes of Stentor on one machine, and keeps them running."""
