"""What is done to a student before it is trained."""
