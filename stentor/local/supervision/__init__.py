"""Processes of the local stack: started, restarted and stopped."""
