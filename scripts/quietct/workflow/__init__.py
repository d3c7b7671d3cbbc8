"""What the Snakefile asks for beside the experiment: digests, what jobs need, and what is said when a run ends."""
