"""The price of a quiet picture, in a sentence on whether nodules can still be told from their absence."""

from __future__ import annotations

import pandas as pd

from quietct.labels import method_label


def detection_sentence(rows: pd.DataFrame) -> str | None:
    """Compare the observer's d′ in the noisy scan with that after denoising.

    Parameters
    ----------
    rows : DataFrame
        Rows of one noise of the summary: method, psnr_db, d_prime, d_prime_low and d_prime_high.

    Returns
    -------
    str or None
        Of the method with the best PSNR, and of that with the best d′ if it is another; None where the noisy scan or
        all that was denoised has no d′.
    """
    known = rows.set_index("method").dropna(subset=["d_prime", "psnr_db"])
    if "noisy" not in known.index or len(known) < 2:
        return None
    denoised = known.drop(index="noisy")
    first, best = denoised["psnr_db"].idxmax(), denoised["d_prime"].idxmax()
    sentence = (
        f"An observer tells the nodules of the detection task with a d′ of {_value(known.loc['noisy'])} in the noisy "
        f"scan and of {_value(denoised.loc[first])} after {method_label(first)}, the best by PSNR"
    )
    if best == first:
        return f"{sentence}; none that was denoised has more."
    return f"{sentence}; the most of all that was denoised is {_value(denoised.loc[best])}, after {method_label(best)}."


def _value(row: pd.Series) -> str:
    interval = f" (95 % {row['d_prime_low']:.2f} to {row['d_prime_high']:.2f})" if pd.notna(row["d_prime_low"]) else ""
    return f"{row['d_prime']:.2f}{interval}"
