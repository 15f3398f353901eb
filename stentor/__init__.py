"""What all rooms of Stentor share: words, errors, settings, lanes, the job store and the object storage."""
