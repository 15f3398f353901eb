"""The endpoints of OpenAI's API that this service supports."""
