"""Writes statistics and latencies of routes as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adroit.text import table

if TYPE_CHECKING:
    from adroit.deploy.routing.latency.route_latency import RouteLatency
    from adroit.deploy.routing.replay import ReplayAgreement
    from adroit.deploy.routing.statistics.route_statistics import RouteStatistics


def describe_agreement(agreement: ReplayAgreement) -> str:
    """Writes how far the network of a route agrees with the dynamic one."""
    return (
        f"same class as the dynamic network: {agreement.same_class:.4%} of the pixels of {agreement.images} images;"
        f" logits differ by up to {agreement.largest_difference:.3g}, the largest is {agreement.largest_logit:.3g}"
    )


def describe_statistics(statistics: RouteStatistics) -> str:
    """Writes what the routes of a data set cost, and how they differ; details are in JSON and HTML."""
    from adroit.text import readable_count as readable

    s, all_open = statistics, statistics.all_open
    rows: list[tuple[str, ...]] = [("", "mean", "minimum", "median", "maximum")]
    for name, spread in (("operations", s.operations), ("by the paper's counting", s.paper)):
        rows.append((name, *map(readable, (spread.mean, spread.minimum, spread.median, spread.maximum))))
    tops = ", ".join(f"{count}: {s.top_share(count):.1%}" for count in (1, 4, 16) if count <= len(s.routes))
    batches = ", ".join(f"{b.batch}: {readable(b.operations)} ({b.ratio:.2f} x)" for b in s.batches)
    lines = [
        f"routes of {len(s.samples)} images in {s.title}, gate threshold {s.gate_threshold:g}",
        table(rows),
        f"everything open costs {readable(all_open)}, everything closed {readable(s.all_closed)};"
        f" the images' routes {s.operations.mean / all_open:.1%} of the former",
        f"{len(s.routes)} different routes, entropy {s.entropy:.2f} bits; images in the most frequent ones: {tops}",
        f"operations an image in a batch of {batches}",
    ]
    if len(s.sizes) > 1:
        sizes = (f"{c.size[0]} x {c.size[1]}: {readable(c.operations)} ({c.images})" for c in s.sizes)
        lines.append(f"operations an image by size (images): {', '.join(sizes)}")
    if s.loss_correlation is not None:
        lines.append(f"correlation of an image's loss with its operations: {s.loss_correlation:+.2f}")
    for which, m in (("open gates are above", s.margins), ("closed gates are below", s.closed_margins)):
        if m is not None and m.minimum is not None:
            lines.append(
                f"{which} the threshold by {m.median:.3f} (median), {m.near:.1%} of them by less than 0.05;"
                f" minimum {m.minimum:.2g}: {m.path} of {m.image}"
            )
    return "\n".join(lines)


def describe_latency(latency: RouteLatency) -> str:
    """Writes what the images of a data set take, and what skipping saves."""
    from adroit.text import readable_count as readable

    measured = [image.measured for image in latency.images if image.measured is not None]
    rows: list[tuple[str, ...]] = [("routes", "images", "operations", "ms", "skip efficiency", *LOSSES.values())]
    for name, row in (("all measured", latency.overall), *((str(i), r) for i, r in enumerate(latency.routes, 1))):
        saved = "" if row.skip_efficiency is None else f"{row.skip_efficiency:.2f}"
        lost = [f"{getattr(row.losses, kind):+.2f}" if row.losses else "" for kind in LOSSES]
        rows.append((name, str(row.images), f"{row.share:.1%}", f"{row.milliseconds:.4g}", saved, *lost))
    restless = (
        []
        if latency.prediction.steady
        else ["the machine changed its speed meanwhile, so what is lost where is not shown"]
    )
    return "\n".join(
        [
            f"an image takes {latency.overall.milliseconds:.4g} ms ({min(measured):.4g} to {max(measured):.4g};"
            f" {len(measured)} images measured); its route predicts that {latency.prediction}",
            f"every path open: {latency.all_open:.4g} ms, {readable(latency.memory.running)}B of memory;"
            f" in the static form: {latency.static_open:.4g} ms",
            table(rows),
            *restless,
        ]
    )


# Kinds of loss (deploy/routing/latency/losses.py), as columns.
LOSSES = {
    "gates": "ms lost: gates",
    "control_flow": "control flow",
    "lost_fusion": "lost fusion",
    "memory_bound": "memory-bound",
}
