"""The errors a user can cause."""


class UserError(Exception):
    """Something the user can mend: one sentence that names the file or key and what to do.

    A script that ends with it prints that sentence and no traceback.
    """
