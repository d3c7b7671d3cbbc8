"""A comparison in sentences: which differences are real, how large they are, and what they were judged by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from quietct.evaluation.seed_scatter import seed_scatter
from quietct.evaluation.slices import MEASURES, Slices
from quietct.labels import OTHER_LABELS, variant_label

PRIMARY = next(iter(MEASURES))
ALONE = "One kind of back-propagation was trained, so that there is none to compare it with."
ANOTHER = "another training of the same kind may come out differently"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def write_verdict(comparison: pd.DataFrame, slices: Slices, init: str) -> dict[str, Any]:
    """Put a comparison into words.

    Parameters
    ----------
    comparison : DataFrame
        As `compare` makes it.
    slices : Slices
        What was compared.
    init : {'shared', 'independent'}
        Whether the variants of a seed had the same first weights.

    Returns
    -------
    dict
        `headline`, one sentence of the differences between variants by PSNR, and `sentences`, a list for each noise.
    """
    headlines: list[str] = []
    told: set[str] = set()
    sentences: dict[str, list[str]] = {}
    cases = [(noise, network) for noise in slices.noises for network in slices.networks(noise)]
    for noise in slices.noises:
        sentences[noise] = []
        for network in slices.networks(noise):
            rows = comparison[(comparison["noise"] == noise) & (comparison["network"] == network)]
            names = slices.variants(noise, network)
            between, filters = rows[rows["second"].isin(names)], rows[~rows["second"].isin(names)]
            sentence = variants_sentence(between[between["measure"] == PRIMARY], len(names))
            prefix = _prefix(noise, network, cases)
            told.add(sentence)
            headlines.append(prefix + sentence)
            place = f"With the network {network}: " if len(slices.networks(noise)) > 1 else ""
            parts = [
                sentence,
                *other_measures_sentences(between),
                *failure_sentences(between[between["measure"] == PRIMARY]),
                *baseline_sentences(filters, slices, noise, network),
                *first_weights_sentences(slices, noise, network, init),
            ]
            sentences[noise] += [place + part for part in parts]
        sentences[noise].append(limits_sentence(slices, noise))
    if told == {ALONE}:  # of each noise and network; no need to say it more than once
        headlines = [ALONE]
    headline = " ".join(headlines) or "No network was trained, so that there is nothing to compare."
    return {"headline": headline, "sentences": sentences}


def variants_sentence(rows: pd.DataFrame, n_variants: int) -> str:
    """Say which variants differ.

    Parameters
    ----------
    rows : DataFrame
        The comparison of all pairs of variants by one measure.
    n_variants : int

    Returns
    -------
    str
    """
    kinds = f"the {_number(n_variants)} kinds of back-propagation"
    if n_variants < 2:
        return ALONE
    known = rows[rows["difference"].notna()]
    if known.empty:
        return f"No two of {kinds} can be compared: {_why(rows)}."
    label, shape = MEASURES[rows["measure"].iloc[0]].label, _shape(known)
    if (known[["difference", "low", "high"]].fillna(0) == 0).all(axis=None):
        return f"{kinds.capitalize()} gave the same {label} on all slices ({shape})."
    largest = known.loc[known["difference"].abs().idxmax()]
    if (known["verdict"] == "not testable").all():
        one = (known["n_seeds"] == 1).all()
        reason = f"each was trained with one seed, and {ANOTHER}" if one else known["note"].iloc[0]
        return (
            f"Whether {kinds} differ cannot be told: {reason}; the largest difference in {label} is "
            f"{_ordered(largest)} ({shape})."
        )
    shown = known[known["verdict"].isin(["better", "worse"])]
    if shown.empty:
        return f"No difference between {kinds} is shown: the largest in {label} is {_ordered(largest)} ({shape})."
    rest = ["no other difference is shown"] if len(shown) < len(known) else []
    return f"By {label} ({shape}), {'; '.join([*_differences(shown), *rest])}."


def other_measures_sentences(rows: pd.DataFrame) -> list[str]:
    """Say in how many pairs the other measures show a difference."""
    counts = []
    for measure, group in rows[rows["measure"] != PRIMARY].groupby("measure", sort=False):
        if group["p"].notna().any():
            shown = group["verdict"].isin(["better", "worse"]).sum()
            counts.append(f"in {MEASURES[measure].label} {shown or 'none'} of {len(group)}")
    if not counts:
        return []
    return [f"Pairs of kinds of back-propagation with a difference in other measures: {', '.join(counts)}."]


def failure_sentences(rows: pd.DataFrame) -> list[str]:
    """Say what failed and is therefore in no difference."""
    failed = rows[rows["note"].str.contains("left out")]
    return [
        f"{_quoted(row.first)} and {_quoted(row.second)}: {row.note}. The difference does not show that."
        for row in failed.itertuples()
    ]


def baseline_sentences(comparison: pd.DataFrame, slices: Slices, noise: str, network: str) -> list[str]:
    """Compare the best variant with the best baseline, and count the others.

    Parameters
    ----------
    comparison : DataFrame
        The comparison of the best variant with every baseline, by all measures.
    slices : Slices
    noise, network : str

    Returns
    -------
    list of str
    """
    rows = comparison[comparison["measure"] == PRIMARY]
    baselines = slices.baselines(noise)
    best = slices.best(noise, network, baselines)
    if not baselines:
        return ["No classical filter was run, so that the networks are compared with none."]
    if rows.empty or best is None:
        return ["The networks cannot be compared with a classical filter: one of them failed on all slices."]
    row = rows.set_index("second", drop=False).loc[best]
    subject = f"The best kind, {_quoted(row['first'])},"
    rival = f"the best classical filter, {OTHER_LABELS.get(best, best)}"
    if pd.isna(row["difference"]):
        return [f"{subject} cannot be compared with {rival}: {row['note']}."]
    size, interval = _value(row["measure"], abs(row["difference"])), _interval(row)
    more = "above" if row["difference"] > 0 else "below"
    if row["verdict"] == "not testable":
        reason = f"it was trained with one seed, and {ANOTHER}" if row["n_seeds"] == 1 else row["note"]
        fact = f"{subject} is {size} of PSNR {more} {rival} (95 % {interval})"
        return [f"{fact}; whether that is real cannot be told: {reason}."]
    if row["verdict"] == "no difference shown":
        sentence = f"{subject} is not shown to differ from {rival}: {size} of PSNR {more} it (95 % {interval})"
    else:
        beaten = int((rows["verdict"] == "better").sum())
        how_many = "each" if beaten == len(rows) else _number(beaten)
        sentence = f"{subject} is {row['verdict']} than {rival}, by {size} of PSNR (95 % {interval})"
        sentence += f"; it is better than {how_many} of the {_number(len(rows))} filters" if len(rows) > 1 else ""
    others = comparison[(comparison["measure"] != PRIMARY) & (comparison["second"] == best)]
    by_others = [f"{other.verdict} by {MEASURES[other.measure].label}" for other in others.itertuples()]
    return [
        f"{sentence}.",
        *([f"Compared with that filter by other measures: {', '.join(by_others)}."] if by_others else []),
    ]


def first_weights_sentences(slices: Slices, noise: str, network: str, init: str) -> list[str]:
    """Say whether the variants of a seed had the same first weights, and what pairing by seed does."""
    if len(slices.variants(noise, network)) < 2:
        return []
    opening = "Each kind had first weights of its own"
    if init == "shared":
        opening = "The kinds of one seed had the same first weights"
    scatter = seed_scatter(slices, noise, network, PRIMARY)
    if scatter is None:
        return [f"{opening}."]
    return [
        f"{opening}: from seed to seed, the difference between two kinds scatters by {scatter.paired:.3f} dB, and that "
        f"of trainings that share nothing would by {scatter.unpaired:.3f} dB (standard deviations, median pair)."
    ]


def limits_sentence(slices: Slices, noise: str) -> str:
    """Say what was sampled, and what the intervals leave out."""
    n_series = len(slices.series(noise))
    n_seeds = max((len(slices.seeds(noise, network)) for network in slices.networks(noise)), default=0)
    drawn = (
        "other seeds and other slices like these" if n_seeds > 1 else "other slices like these, not for other trainings"
    )
    patients = "one series is one patient" if n_series == 1 else f"{_number(n_series)} series are few patients"
    return (
        f"The intervals are for {drawn}: neighbouring slices are alike and {patients}, so that they are too narrow for "
        "other patients. Each is of its pair alone; whether a difference is real is judged with all pairs in mind."
    )


def _prefix(noise: str, network: str, cases: Sequence[tuple[str, str]]) -> str:
    """Name what tells several cases apart."""
    parts = [f"noise {noise}"] if len({case[0] for case in cases}) > 1 else []
    parts += [f"network {network}"] if len({case[1] for case in cases}) > 1 else []
    return f"{', '.join(parts).capitalize()}: " if parts else ""


def _differences(rows: pd.DataFrame) -> list[str]:
    """Tell real differences, a clause for the losers to the same winners; the largest difference first."""
    measure = rows["measure"].iloc[0]
    pairs = pd.DataFrame([_winner_first(row) for row in rows.to_dict("records")])
    winners = pairs.groupby("loser", sort=False)["winner"].agg(tuple)
    groups = [group for _, group in pairs.groupby(pairs["loser"].map(winners), sort=False)]
    clauses = []
    for group in sorted(groups, key=lambda group: -group["size"].max()):
        losers, best = list(group["loser"].unique()), list(group["winner"].unique())
        size = _range(measure, group["size"].min(), group["size"].max())
        ends = _range(measure, group["low"].min(), group["high"].max())
        if len(losers) == len(best) == 1:
            clauses.append(f"{_listed(best)} is better than {_listed(losers)} by {size} (95 % {ends})")
        else:
            verb = "is" if len(losers) == 1 else "are"
            clauses.append(
                f"{_listed(losers)} {verb} worse than {_listed(best)} by {size} (95 % intervals within {ends})"
            )
    return clauses


def _winner_first(row: dict[str, Any]) -> dict[str, Any]:
    """Turn a difference so that it is positive, with its interval."""
    winner, loser = (row["first"], row["second"]) if row["verdict"] == "better" else (row["second"], row["first"])
    ends = (row["low"], row["high"]) if row["difference"] > 0 else (-row["high"], -row["low"])
    return {"winner": winner, "loser": loser, "size": abs(row["difference"]), "low": ends[0], "high": ends[1]}


def _ordered(row: pd.Series) -> str:
    """Write a difference with its better half first."""
    better = MEASURES[row["measure"]].sign * row["difference"] >= 0
    first, second = (row["first"], row["second"]) if better else (row["second"], row["first"])
    size = _value(row["measure"], abs(row["difference"]))
    return f"{size}, {_quoted(first)} before {_quoted(second)}, 95 % {_interval(row)}"


def _interval(row: pd.Series) -> str:
    """Write the interval of the size of a difference."""
    if pd.isna(row["low"]):
        return "interval unknown"
    ends = (row["low"], row["high"]) if row["difference"] >= 0 else (-row["high"], -row["low"])
    return _range(row["measure"], *ends)


def _range(measure: str, low: float, high: float) -> str:
    """Write "0.12 to 0.30 dB", or one value where both are equal."""
    first, last = _value(measure, low), _value(measure, high)
    return last if first == last else f"{first.removesuffix(MEASURES[measure].unit).rstrip()} to {last}"


def _value(measure: str, value: float) -> str:
    """Write a difference, with a decimal more where it is small."""
    unit, digits = MEASURES[measure].unit, MEASURES[measure].digits
    digits += abs(value) < 10 ** (1 - digits)
    return f"{value:.{digits}f} {unit}".rstrip().replace("-", "−")


def _shape(rows: pd.DataFrame) -> str:
    """Count seeds and slices: "5 seeds, 12 slices"."""
    counts = []
    for column, one in (("n_seeds", "seed"), ("n_slices", "slice")):
        low, high = int(rows[column].min()), int(rows[column].max())
        number = str(high) if low == high else f"{low} to {high}"
        counts.append(f"{number} {one}{'' if high == 1 else 's'}")
    return ", ".join(counts)


def _why(rows: pd.DataFrame) -> str:
    return next((note for note in rows["note"] if note), "nothing was measured")


def _quoted(variant: str) -> str:
    return f"“{variant_label(variant)}”"


def _listed(variants: Sequence[str]) -> str:
    *most, last = (_quoted(variant) for variant in variants)
    return f"{', '.join(most)} and {last}" if most else last


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else str(count)
