"""Methods that align two modalities: distributions of features, or a learned space."""
