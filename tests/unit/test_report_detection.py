import numpy as np
import pandas as pd
import pytest

from quietct.report.build import read_verdict
from quietct.report.detection import detection_sentence


def rows(d_prime, psnr_db=(20.0, 30.0, 31.0)):
    low, high = np.array(d_prime) - 0.5, np.array(d_prime) + 0.5
    methods = ["noisy", "median", "net-sgd-seed1"]
    return pd.DataFrame(
        {"method": methods, "psnr_db": psnr_db, "d_prime": d_prime, "d_prime_low": low, "d_prime_high": high}
    )


def test_what_denoising_costs_in_detection_is_told_with_intervals():
    assert detection_sentence(rows([2.77, 2.6, 2.14])) == (
        "An observer tells the nodules of the detection task with a d′ of 2.77 (95 % 2.27 to 3.27) in the noisy scan "
        "and of 2.14 (95 % 1.64 to 2.64) after net · gradient descent (seed 1), the best by PSNR; the most of all that "
        "was denoised is 2.60 (95 % 2.10 to 3.10), after median filter."
    )
    assert detection_sentence(rows([1.0, 1.5, 2.0])).endswith("the best by PSNR; none that was denoised has more.")


@pytest.mark.parametrize(
    ("d_prime", "psnr_db"),
    [
        ([np.nan, 2.6, 2.1], (20.0, 30.0, 31.0)),  # no noisy scan to compare with
        ([2.7, np.nan, np.nan], (20.0, 30.0, 31.0)),  # nothing denoised
        ([2.7, 2.6, 2.1], (20.0, np.nan, np.nan)),  # all methods failed
    ],
)
def test_without_values_there_is_no_sentence(d_prime, psnr_db):
    assert detection_sentence(rows(d_prime, psnr_db)) is None


def test_a_report_without_a_verdict_still_tells_of_detection():
    verdict = read_verdict(None, rows([2.77, 2.6, 2.14]).assign(noise="mild"))
    assert verdict["headline"] == ""
    assert [sentence[:11] for sentence in verdict["sentences"]["mild"]] == ["An observer"]
    assert read_verdict(None, pd.DataFrame({"noise": ["mild"], "method": ["noisy"]}))["sentences"] == {"mild": []}
