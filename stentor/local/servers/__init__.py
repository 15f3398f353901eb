"""The servers that Stentor needs, started on this machine: Valkey and S3."""
