"""Pictures of a run: animations and plots."""
