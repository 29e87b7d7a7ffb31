"""Methods that match what student and teacher predict."""
