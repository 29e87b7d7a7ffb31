"""Methods for sets that belong together, nothing known inside."""
