"""Methods that match features and inner states of pairs."""
