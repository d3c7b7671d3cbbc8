"""`python -m quietct` does what the command `quietct` does."""

from quietct.cli import main

raise SystemExit(main())
