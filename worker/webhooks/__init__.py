"""The courier: takes what happened from the outbox to those who want to hear of it."""
