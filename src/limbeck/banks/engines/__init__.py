"""Who answers while a bank is built: this process, or workers."""
