"""What a row is called: the same name in the data, in a bank and in the link between them."""

from __future__ import annotations

Key = str | int  # all keys of one side are of one kind
