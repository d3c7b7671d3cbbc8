"""A process that converts whatever DICOM it is pointed to, with bounded memory and files, and says how it went.

Reads lines of JSON with `location`, `dest`, `volume`, `info`, `unusable`; answers each with a line of JSON: `end` is
"read", "refused" or "crashed", `text` is what was said.
"""

import faulthandler
import json
import logging
import os
import resource
import sys
import traceback
import warnings

MEMORY_MIB = 600  # what a conversion may take beside the libraries
FILE_MIB = 64  # what it may write at once


def main():
    import numpy  # noqa: F401

    from quietct.ct.dicom.convert import convert_series
    from quietct.ct.sources import fetch_series
    from quietct.errors import UserError

    faulthandler.enable()
    logging.getLogger().addHandler(logging.NullHandler())
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_MIB * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_MIB * 2**20,) * 2)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a decoder may print what it likes
    for line in sys.stdin:
        task = json.loads(line)
        told = []
        try:
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                fetch_series("directory", task["location"], task["dest"], unusable=task["unusable"])
                convert_series(task["dest"], task["volume"], task["info"], unusable=task["unusable"])
            end = "read"
        except UserError as error:
            end = "refused"
            told.append(str(error))
        except BaseException:
            end = "crashed"
            told.append(traceback.format_exc())
        told += [str(warning.message) for warning in heard]
        print(json.dumps({"end": end, "text": "\n".join(told)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
