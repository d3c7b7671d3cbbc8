"""What one experiment is: its config and its series sheet, read and checked."""
