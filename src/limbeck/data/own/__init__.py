"""A user's own data: folders and tables."""
