"""Batching: from claimed jobs to rows, from rows to forward passes."""
