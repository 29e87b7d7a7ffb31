"""One file per subcommand of ``limbeck``: its parser, the call, and what it prints."""
