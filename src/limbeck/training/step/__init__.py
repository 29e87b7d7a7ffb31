"""What makes a step quick: walks over modules, rows by length, look-ups ahead."""
