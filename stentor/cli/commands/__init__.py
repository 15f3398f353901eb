"""The commands of ``stentor``, one module each."""
