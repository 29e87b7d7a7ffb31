"""Language models as students: new ones by a tokenizer of one's own, and what they write."""
