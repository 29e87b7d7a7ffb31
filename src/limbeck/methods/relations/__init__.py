"""Methods that match how the samples of a batch lie to each other, across modalities and widths."""
