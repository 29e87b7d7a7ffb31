"""What a recipe says of one side of a user's own data, and its source as far as it is known before torch is loaded."""
