"""The command `quietct`: denoise a CT series, and say what weights are.

Nothing large is imported before it is needed, so that `quietct --version` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from quietct import __version__
from quietct.errors import UserError

DONE, FAILED, INTERRUPTED, TERMINATED = 0, 1, 130, 143  # a wrong command line ends with 2

ABOUT = "Denoise CT series with small networks in NumPy. Research use, not for diagnosis."
DENOISE = """\
Denoise one CT series and write it as a new, derived series of the same study.

INPUT is a folder (with all folders below it), a .zip, a DICOMDIR or a DICOM file; it is only read. OUTPUT is a folder,
which appears whole or not at all. Without WEIGHTS, quietct uses its own: a small network that has seen nothing but a
synthetic chest. Train one on your scanner's data for anything real."""
DENOISE_EXAMPLES = """\
examples:
  quietct denoise scan/ denoised/
      with the weights that come with quietct
  quietct denoise weights.npz scan.zip denoised/ --preview look.png --window -160 240
      with weights of your own, and a picture of the middle slice before and after
  quietct denoise scan/ denoised/ --series 1.2.840.113619.2.55.3
      one of several series
  quietct denoise scan/ denoised/ --deidentify
      with nothing about the patient in the output

exit status: 0 done, or nothing to do; 1 the input, the weights or a place is not fit for it; 2 wrong command line;
130 interrupted. In all but the first case OUTPUT is as it was before.

Research use, not for diagnosis: a denoiser can remove small findings and invent others."""
INFO = "Say what weights are: the network, what it was trained on, its normalisation, its measured quality."
INFO_EXAMPLES = """\
examples:
  quietct info
      the weights that come with quietct
  quietct info results/demo/models/dose_25_mas/compact/sgd/seed1/weights.npz"""
# Modules whose messages the user of a command wants to read.
SPEAKERS = ("quietct.apply.denoise_dicom", "quietct.counting", "quietct.ct.dicom.series", "quietct.figures.preview")
# What a series sheet calls its columns, and what they are on the command line.
OPTIONS = {
    "in the column `series_instance_uid`": "with --series",
    "(column `series_instance_uid`)": "(--series)",
    "in the column `acquisition_number`": "with --acquisition",
    "(column `acquisition_number`)": "(--acquisition)",
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    words : sequence of str, optional
        What follows `quietct` on the command line; that of this process if absent.

    Returns
    -------
    int
        The exit status.
    """
    given = list(sys.argv[1:] if words is None else words)
    parser, commands = _parsers()
    if not given or given[0] not in commands:
        parser.parse_args(given)  # ends with help, version or what is wrong
        parser.error("name a command: denoise or info")
    options = commands[given[0]].parse_intermixed_args(given[1:])
    try:
        signal.signal(signal.SIGTERM, _terminate)
        return _info(options) if given[0] == "info" else _denoise(options)
    except KeyboardInterrupt:
        return _say("Interrupted; nothing is half-written.", INTERRUPTED)
    except UserError as error:
        return _say(f"Error: {_in_options(str(error))}", FAILED)
    except MemoryError:
        return _say("Error: there is not enough memory for slices of this size.", FAILED)
    except BrokenPipeError:  # who read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        # Its text may quote a header, and so a patient; its place in the code does not.
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__}, {Path(place.filename).name} line {place.lineno}"
        return _say(f"Error: quietct {__version__} failed by a fault of its own ({where}); please report it.", FAILED)


def _denoise(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    for name in SPEAKERS:
        logging.getLogger(name).setLevel(logging.NOTSET if options.quiet else logging.INFO)
    from quietct.apply.denoise_dicom import denoise_dicom

    denoise_dicom(
        options.weights,
        options.input,
        options.output,
        series_instance_uid=options.series,
        acquisition_number=options.acquisition,
        unusable="skip" if options.skip_unusable else "strict",
        deidentify=options.deidentify,
        force=options.force,
        threads=options.threads,
        window_hu=None if options.window is None else tuple(options.window),
        preview=options.preview,
    )
    return DONE


def _info(options: argparse.Namespace) -> int:
    from quietct.apply.denoise_dicom import DEMO, load_model
    from quietct.apply.domain import describe

    model = load_model(options.weights)
    if options.weights is None:
        print(f"{DEMO}\n")
    print(describe(model.description, model.digest).rstrip())
    return DONE


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(prog="quietct", description=ABOUT)
    parser.add_argument("--version", action="version", version=f"quietct {__version__}")
    add = parser.add_subparsers(metavar="COMMAND").add_parser
    raw = argparse.RawDescriptionHelpFormatter
    denoise = add(
        "denoise", help="denoise a CT series", description=DENOISE, epilog=DENOISE_EXAMPLES, formatter_class=raw
    )
    denoise.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights.npz of a trained network")
    denoise.add_argument("input", metavar="INPUT", help="folder, .zip, DICOMDIR or DICOM file with the series")
    denoise.add_argument("output", metavar="OUTPUT", help="folder to write the denoised series to")
    option = denoise.add_argument
    option("--series", metavar="UID", help="SeriesInstanceUID of the series, if there are several")
    option("--acquisition", metavar="N", type=int, help="only the slices of this AcquisitionNumber")
    option("--skip-unusable", action="store_true", help="leave unusable files out and name them, instead of stopping")
    option("--deidentify", action="store_true", help="write nothing about the patient")
    option(
        "--preview", metavar="FILE", help="draw the middle slice (.png) or a scroll (.gif): before, after, difference"
    )
    option("--window", metavar=("LOW", "HIGH"), nargs=2, type=float, help="black and white of the preview, HU")
    option("--threads", metavar="N", type=_positive, default=_cores(), help="cores to use (%(default)s); same result")
    option("--force", action="store_true", help="replace an earlier result of quietct, and the preview")
    option("--quiet", action="store_true", help="say nothing but warnings and errors")
    info = add("info", help="say what weights are", description=INFO, epilog=INFO_EXAMPLES, formatter_class=raw)
    info.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights.npz; those of quietct if absent")
    return parser, {"denoise": denoise, "info": info}


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be 1 or more")
    return number


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_options(text: str) -> str:
    for column, option in OPTIONS.items():
        text = text.replace(column, option)
    return text


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status


def _terminate(number: int, frame: object) -> None:
    raise SystemExit(TERMINATED)
