"""The report that a person looks at: one HTML file with plots, spectrograms and sound inside.

Nothing is decided here. Pictures need matplotlib (the ``report`` extra).
"""

import base64
import html
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure

from .phonemes import Coverage, base_code, coverage
from .quality import N_FFT, RATE_HZ, Sound, decibels, spectrum
from .quality_rules import Verdict, letters_per_s
from .shards import Record, Shards

EXAMPLES = 3  # of each reason
KEPT_EXAMPLES = 6
HEARD_S = 8  # of an example that is shown and can be played
LISTED = 200  # clips left out that are listed; manifest.csv has all
KEPT, LEFT = "#2a7", "#d43"

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}
td.n{text-align:right}img{max-width:100%}figure{margin:1em 0}figcaption{color:#555}.no{color:#b32}audio{height:30px}"""

Pair = tuple[Record, Verdict]


def write_report(out: Path, records: Sequence[Record], verdicts: Sequence[Verdict]) -> Path:
    """Write ``out/report.html`` and return its path."""
    pairs = list(zip(records, verdicts, strict=True))
    kept = [record for record, verdict in pairs if verdict.kept]
    body = [
        f"<h1>{_text(out.name)}: {len(kept)} of {len(pairs)} clips kept</h1>",
        _sources(pairs),
        "<h2>Why the others were left out</h2>",
        _counts(reason for _, verdict in pairs for reason in verdict.reasons),
        "<h2>Remarks on what may stay</h2>",
        _counts(remark for _, verdict in pairs for remark in verdict.remarks),
        "<h2>Distributions</h2>",
        _figure(
            _distributions(pairs), "Kept in green, left out in red. Each should be one hill; look at what stands alone."
        ),
        _lengths(kept),
        "<h2>What is said</h2>",
        *_sounds_covered(kept),
        "<h2>Look and listen: kept</h2>",
        *_examples(out, _spread([pair for pair in pairs if pair[1].kept], KEPT_EXAMPLES)),
        "<h2>Look and listen: left out</h2>",
        *_examples(out, _each_reason(pairs)),
        "<h2>Left out</h2>",
        _left_out(pairs),
    ]
    page = f"<!doctype html><html lang=en><meta charset=utf-8><title>Speech data</title><style>{STYLE}</style>"
    path = out / "report.html"
    path.write_text(page + "\n".join(body) + "</html>\n", encoding="utf-8")
    return path


def _text(words: object) -> str:
    return html.escape(str(words))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{_text(name)}</th>" for name in head) + "</tr>"]
    for row in rows:
        cells = (f"<td{' class=n' if isinstance(cell, int | float) else ''}>{_text(cell)}</td>" for cell in row)
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join(lines) + "</table>"


def _sources(pairs: Sequence[Pair]) -> str:
    by_folder: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_folder[pair[0].folder].append(pair)
    rows = []
    for folder, inside in by_folder.items():
        kept = [record for record, verdict in inside if verdict.kept]
        formats = Counter(f"{r.measures.format} {r.measures.rate_hz} Hz" for r, _ in inside if r.measures)
        rows.append(
            (
                folder,
                len(inside),
                len(kept),
                round(sum(record.n_samples for record in kept) / RATE_HZ / 3600, 2),
                len({record.speaker for record in kept}),
                sum(bool(record.text) for record in kept),
                ", ".join(f"{name}: {n}" for name, n in formats.most_common(4)),
            )
        )
    return _table(("folder", "clips", "kept", "hours kept", "speakers", "with a text", "formats"), rows)


def _counts(words: Iterable[str]) -> str:
    counts = Counter(word.split(":")[0] for word in words)
    return _table(("check", "clips"), counts.most_common()) if counts else "<p>None.</p>"


def _figure(figure: Figure, caption: str) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=80)
    data = base64.b64encode(picture.getvalue()).decode()
    image = f"<img alt='{_text(caption)}' src='data:image/png;base64,{data}'>"
    return f"<figure>{image}<figcaption>{_text(caption)}</figcaption></figure>"


def _distributions(pairs: Sequence[Pair]) -> Figure:
    """Histograms of every measure, and text against length."""
    figure = Figure(figsize=(13, 7.5))
    measured = [(r, r.measures, v.kept) for r, v in pairs if r.measures]
    panels = {
        "length / s": [m.seconds for _, m, _ in measured],
        "active level before levelling / dBFS": [m.level_db for _, m, _ in measured],
        "speech above noise floor / dB": [m.snr_db for _, m, _ in measured],
        "true bandwidth / kHz": [m.bandwidth_hz / 1000 for _, m, _ in measured],
        "pauses / %": [100 * m.silence for _, m, _ in measured],
        "samples in flat tops / %": [100 * m.clipped for _, m, _ in measured],
        "silence cut off / s": [m.trimmed_s for _, m, _ in measured],
    }
    margins = {"left": 0.04, "right": 0.99, "top": 0.95, "bottom": 0.05, "hspace": 0.25, "wspace": 0.2}
    axes = figure.subplots(2, 4, gridspec_kw=margins).ravel()
    is_kept = np.array([kept for *_, kept in measured], bool)
    for axis, (name, values) in zip(axes, panels.items(), strict=False):
        array = np.array(values)
        axis.hist([array[is_kept], array[~is_kept]], bins=40, stacked=True, color=[KEPT, LEFT])
        axis.set(title=name, yscale="log" if len(values) > 200 else "linear")
        axis.set_ylim(bottom=0.5 if len(values) > 200 else 0)
        axis.title.set_fontsize(10)
    for wanted, colour in ((True, KEPT), (False, LEFT)):
        points = [(m.seconds, letters_per_s(r)) for r, m, kept in measured if r.text and kept is wanted]
        if points:
            axes[-1].scatter(*zip(*points, strict=True), s=6, color=colour)
    axes[-1].set(title="letters a second, against length / s")
    axes[-1].title.set_fontsize(10)
    return figure


def _lengths(kept: Sequence[Record]) -> str:
    """Quantiles: training draws stretches of one length, and clips shorter than that are not used."""
    seconds = [record.n_samples / RATE_HZ for record in kept]
    shares = (0, 5, 25, 50, 75, 95, 100)
    row = [round(float(value), 2) for value in np.percentile(seconds, shares)]
    return _table([f"{share} % of kept clips last at most / s" for share in shares], [row]) if kept else ""


def _sounds_covered(kept: Sequence[Record]) -> list[str]:
    texts: dict[str, list[str]] = defaultdict(list)
    for record in kept:
        if record.text:
            texts[base_code(record.language)].append(record.text)
    parts = [_covered(coverage(said, language), len(said)) for language, said in sorted(texts.items())]
    return parts or ["<p>No clip has a text.</p>"]


def _covered(found: Coverage, n_texts: int) -> str:
    figure = Figure(figsize=(13, 2.6))
    axis = figure.subplots(gridspec_kw={"left": 0.04, "right": 0.99, "top": 0.88, "bottom": 0.13})
    units = sorted(found.counts, key=lambda unit: -found.counts[unit])[:80]
    axis.bar(
        [*units, *found.missing], [*(found.counts[unit] for unit in units), *(0 for _ in found.missing)], color=KEPT
    )
    axis.set(yscale="log", title=f"{found.language or 'language not told'}: {found.units} in {n_texts} texts")
    axis.margins(x=0.01)
    missing = " ".join(found.missing) or ("none" if found.units == "phonemes" else "not known of letters")
    rare = " ".join(found.rare) or "none"
    return _figure(figure, f"Missing: {missing}. Fewer than 10 times: {rare}.")


def _spread(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """Some of ``pairs``, evenly over all of them."""
    picks = np.linspace(0, len(pairs) - 1, min(most, len(pairs))).round().astype(int)
    return [pairs[i] for i in picks]


def _each_reason(pairs: Sequence[Pair]) -> list[Pair]:
    by_reason: dict[str, list[Pair]] = defaultdict(list)
    for record, verdict in pairs:
        if verdict.reasons and record.n_samples:
            by_reason[verdict.reasons[0].split(":")[0]].append((record, verdict))
    return [pair for inside in by_reason.values() for pair in _spread(inside, EXAMPLES)]


def _examples(out: Path, pairs: Sequence[Pair]) -> list[str]:
    """Waveform, spectrogram and sound of each, from the shards."""
    if not pairs:
        return ["<p>None with sound.</p>"]
    shards = Shards(out)
    parts = []
    for record, verdict in pairs:
        shown = min(record.n_samples, HEARD_S * RATE_HZ)
        pcm = shards.read(record.start, shown).astype(np.float32) / np.float32(32768)
        sound = io.BytesIO()
        soundfile.write(sound, pcm, RATE_HZ, format="FLAC")
        data = base64.b64encode(sound.getvalue()).decode()
        caption = f"{record.file} ({record.speaker}) {'; '.join(verdict.reasons + verdict.remarks)} {record.text}"
        parts.append(_figure(_pictures(pcm), caption))
        parts.append(f"<audio controls preload=none src='data:audio/flac;base64,{data}'></audio>")
    return parts


def _pictures(pcm: Sound) -> Figure:
    """Waveform above spectrogram, 80 dB deep: silence should be dark, and the top should not end early."""
    figure = Figure(figsize=(11, 3))
    margins = {"left": 0.05, "right": 0.99, "top": 0.98, "bottom": 0.15, "hspace": 0.05}
    wave, spectrogram = figure.subplots(2, 1, sharex=True, height_ratios=[1, 3], gridspec_kw=margins)
    seconds = len(pcm) / RATE_HZ
    wave.plot(np.arange(len(pcm)) / RATE_HZ, pcm, linewidth=0.3, color="#357")
    peak = max(0.05, float(np.abs(pcm).max()))
    wave.set(ylim=(-peak, peak), yticks=[])
    levels = decibels(spectrum(pcm).T / N_FFT**2)
    top = levels.max()
    spectrogram.imshow(
        levels,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, RATE_HZ / 2000),
        vmin=top - 80,
        vmax=top,
        cmap="magma",
    )
    spectrogram.set(ylabel="kHz", xlabel="s")
    return figure


def _left_out(pairs: Sequence[Pair]) -> str:
    left = [(record, verdict) for record, verdict in pairs if not verdict.kept]
    table = _table(("file", "why"), [(record.file, "; ".join(verdict.reasons)) for record, verdict in left[:LISTED]])
    more = f"<p>And {len(left) - LISTED} more: all are in manifest.csv.</p>" if len(left) > LISTED else ""
    return table + more if left else "<p>None.</p>"
