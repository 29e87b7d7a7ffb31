"""What a server said, before anything is made of it: cleaned of the key, taken out of its wrapping, read."""
