"""From files to what a model reads: tables, pictures, sounds, and the views of them."""
