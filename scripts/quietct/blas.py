"""What OpenBLAS must be told, before NumPy loads it, to use all of a processor."""

from __future__ import annotations

import os
from pathlib import Path

# What OpenBLAS's kernels for AVX-512 (SkylakeX) need.
AVX512 = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


def environment(cpuinfo: str | Path = "/proc/cpuinfo") -> dict[str, str]:
    """Give environment variables for processes that use NumPy.

    OpenBLAS knows processors by their numbers. On one that is newer than itself it falls back to the kernels of
    2013 (Haswell, AVX2), although the processor has AVX-512: half the speed. The variable names the kernels, see
    https://github.com/OpenMathLib/OpenBLAS/blob/develop/USAGE.md. Other BLAS libraries ignore it.

    Parameters
    ----------
    cpuinfo : path
        Linux's description of the processor.

    Returns
    -------
    dict
        Empty where OpenBLAS chooses well by itself, or the user has chosen.
    """
    if "OPENBLAS_CORETYPE" in os.environ:
        return {}
    try:
        text = Path(cpuinfo).read_text()
    except OSError:  # not Linux
        return {}
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return {"OPENBLAS_CORETYPE": "SkylakeX"} if set(flags) >= AVX512 else {}
