"""The same number of trials for every arm of a comparison, judged by validation (extra ``tune``)."""
