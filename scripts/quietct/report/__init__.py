"""One page about a run, that needs no other file and no network."""
