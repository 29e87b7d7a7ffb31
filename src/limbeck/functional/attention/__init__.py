"""What tokens attend to: scores and distributions over keys, and relations between queries, keys or values."""
