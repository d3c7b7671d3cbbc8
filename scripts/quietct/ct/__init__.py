"""CT series: reading, making, adding noise, cutting patches."""
