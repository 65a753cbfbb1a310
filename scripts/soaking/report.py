"""Judges what a run has measured, and prints its tables."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from soaking.sample import Sample, middle

if TYPE_CHECKING:
    from soaking.soak import Soak

#: The growth of memory that is allowed between the warm-up and the end, as a share.
GROWTH = {"used": 0.05, "uss": 0.2, "pss": 0.2, "rss": 0.2}


def judge(soak: Soak) -> None:
    """Finds what is not as it should be."""
    counts = sum(soak.counts, Counter())
    expected = counts["requests"] - counts["without reply"]
    if not soak.problems:
        if counts["replies"] != expected:
            soak.problems.append(f"{expected} requests want a reply, {counts['replies']} came")
        if counts["idles"] != counts["requests"]:
            soak.problems.append(f"{counts['requests']} requests were sent, {counts['idles']} idles came")
    if soak.options.check_flatness and not soak.problems:
        before, after = windows(soak)
        for name, allowed in GROWTH.items():
            start, end = middle(before, name), middle(after, name)
            if end > start * (1 + allowed):
                what = "the memory in use" if name == "used" else name.upper()
                soak.problems.append(f"{what} has grown from {start:.1f} to {end:.1f} MB")
        for name in ("descriptors", "threads", "children"):
            start, end = middle(before, name), middle(after, name)
            if end > start + 2:
                soak.problems.append(f"{name} have grown from {start:.0f} to {end:.0f}")


def windows(soak: Soak) -> tuple[list[Sample], list[Sample]]:
    """The samples of the fifth of the time after the warm-up, and those of the last fifth."""
    fifth = soak.seconds / 5
    before = [sample for sample in soak.samples if fifth <= sample.at < 2 * fifth]
    after = [sample for sample in soak.samples if sample.at >= 4 * fifth]
    return before or soak.samples[:1], after or soak.samples[-1:]


def report(soak: Soak) -> None:
    """Prints the tables."""
    counts = sum(soak.counts, Counter())
    print(f"\n{soak.seconds:.0f} s, {soak.options.clients} clients, {len(soak.counts)} connections")
    print(f"\n{'work':<20}{'times':>10}")
    for name, times in sorted(sum(soak.works, Counter()).items()):
        print(f"{name.replace('_', ' '):<20}{times:>10}")
    print(f"\n{'requests sent':<20}{counts['requests']:>10}")
    print(f"{'want a reply':<20}{counts['requests'] - counts['without reply']:>10}")
    print(f"{'replies':<20}{counts['replies']:>10}")
    print(f"{'idles':<20}{counts['idles']:>10}")
    print(f"{'problems':<20}{len(soak.problems):>10}")
    if soak.samples:
        before, after = windows(soak)
        columns = ("used", "uss", "pss", "rss", "descriptors", "threads", "children")
        print(f"\n{'':<20}" + "".join(f"{name:>13}" for name in columns))
        rows = [("first", soak.samples[:1]), ("after warm-up", before), ("last fifth", after)]
        for title, samples in [*rows, ("most", soak.samples)]:
            pick = max if title == "most" else median
            values = [pick([getattr(sample, name) for sample in samples]) for name in columns]
            print(f"{title:<20}" + "".join(f"{value:>13.1f}" for value in values))
        print("Sizes in MB; medians, but for the last row. used: after a collection of garbage and malloc_trim.")
    for problem in soak.problems:
        print(f"\nPROBLEM: {problem}")
