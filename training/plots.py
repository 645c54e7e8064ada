"""Pictures of an evaluation: quality against bitrate, and quality against loss."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .metrics import NAMES, TITLES, WORDS
from .rows import Row

LABELS = {"mel": "log-mel distance (less is better)", WORDS: "WER % (less is better)"}
COLUMNS = 3


def quality_picture(rows: Sequence[Row], path: Path) -> bool:
    """Every metric against bit/s (codes alone): a line for each codec, the originals dashed. False: nothing to draw."""
    shown = [row for row in rows if row.bits_per_s and not row.loss]
    return _draw(rows, shown, path, lambda row: row.bits_per_s or 0.0, "bit/s", log=True)


def loss_picture(rows: Sequence[Row], path: Path) -> bool:
    """Every metric of our rows against the share of frames really lost. False: no row has losses."""
    lossy = {(row.family, row.books) for row in rows if row.loss}
    shown = [row for row in rows if row.kind == "ours" and (row.family, row.books) in lossy]
    return _draw(rows, shown, path, lambda row: 100 * (row.lost_share or 0.0), "frames lost, %", log=False)


def _draw(
    rows: Sequence[Row], shown: Sequence[Row], path: Path, x: Callable[[Row], float], x_label: str, log: bool
) -> bool:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = [name for name in NAMES if any(name in row.metrics for row in shown)]
    if not names:
        return False
    curves: dict[str, list[Row]] = {}
    for row in shown:
        label = row.family if log else f"{row.family}, books: {row.books}"
        curves.setdefault(label, []).append(row)
    n_columns = min(COLUMNS, len(names))
    n_rows = -(-len(names) // n_columns)
    figure, axes = pyplot.subplots(n_rows, n_columns, figsize=(5.2 * n_columns, 3.9 * n_rows), squeeze=False)
    original = next((row for row in rows if row.kind == "original"), None)
    for axis, name in zip(axes.flat, names, strict=False):
        scale = 100 if name == WORDS else 1
        for i, (label, members) in enumerate(curves.items()):
            _curve(axis, label, f"C{i}", sorted((m for m in members if name in m.metrics), key=x), name, x, scale)
        if original and name in original.metrics:
            axis.axhline(
                scale * original.metrics[name].value, color="0.5", linestyle="--", linewidth=1, label="original"
            )
        axis.set_title(LABELS.get(name, TITLES[name]), fontsize=11)
        axis.set_xlabel(x_label)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if log:
            _bit_axis(axis, [x(row) for row in shown])
    for axis in list(axes.flat)[len(names) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper center", ncols=min(len(labels), 6), frameon=False)
    legend_rows = -(-len(labels) // 6)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.28 * legend_rows / (3.9 * n_rows) - 0.01))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _curve(
    axis: Any, label: str, color: str, members: Sequence[Row], name: str, x: Callable[[Row], float], scale: float
) -> None:
    """One codec: points with their 95 % intervals, ours with full lines and discs, peers with thin ones and squares."""
    if not members:
        return
    values = [member.metrics[name] for member in members]
    axis.errorbar(
        [x(member) for member in members],
        [scale * value.value for value in values],
        [
            [scale * max(value.value - value.low, 0) for value in values],
            [scale * max(value.high - value.value, 0) for value in values],
        ],
        label=label,
        color=color,
        marker="s" if members[0].kind == "peer" else "o",
        linestyle=":" if members[0].kind == "peer" else "-",
        linewidth=1.2 if members[0].kind == "peer" else 2,
        markersize=5,
        capsize=2,
        elinewidth=0.8,
    )


def _bit_axis(axis: Any, bits: Sequence[float]) -> None:
    ticks = [250, 500, 1000, 2000, 4000, 8000, 16_000]
    axis.set_xscale("log", base=2)
    axis.set_xlim(0.8 * min(bits), 1.25 * max(bits))
    axis.set_xticks([tick for tick in ticks if 0.8 * min(bits) <= tick <= 1.25 * max(bits)])
    axis.xaxis.set_major_formatter(lambda tick, _: f"{tick:g}")
    axis.minorticks_off()
