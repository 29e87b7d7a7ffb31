"""Students that make samples from noise."""
