// @ts-check
/** Numbers for people: meters, delay and what it is made of, counts. */
import { by } from "./dom.js";
import { dbfs } from "./level.js";

const QUIETEST_DBFS = -60;
const HOT_DBFS = -3;
/** How often those are told who listen to the page. */
const SAID_EVERY_MS = 2000;

/** @param {string} tag @param {string} [className] */
function element(tag, className = "") {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

/** A level meter: a bar of the loudness, a mark at the peak. */
export class Meter {
  #bar = element("span", "meter-bar");
  #mark = element("span", "meter-peak");
  #number = element("span", "meter-number");
  #track = element("span", "meter-track");
  #held = QUIETEST_DBFS;
  #saidAt = -Infinity;

  /**
   * @param {HTMLElement} place
   * @param {string} label
   */
  constructor(place, label) {
    this.#track.setAttribute("role", "meter");
    this.#track.setAttribute("aria-label", label);
    this.#track.setAttribute("aria-valuemin", String(QUIETEST_DBFS));
    this.#track.setAttribute("aria-valuemax", "0");
    this.#track.append(this.#bar, this.#mark);
    place.append(this.#track, this.#number);
    this.show({ rms: 0, peak: 0 });
  }

  /** @param {{rms: number, peak: number}} level amplitudes */
  show({ rms, peak }) {
    const share = (/** @type {number} */ db) => 1 - Math.max(db, QUIETEST_DBFS) / QUIETEST_DBFS;
    const peakDb = Math.min(dbfs(peak), 0);
    this.#held = Math.max(peakDb, this.#held - 0.75);
    this.#bar.style.transform = `scaleX(${share(Math.min(dbfs(rms), 0)).toFixed(3)})`;
    this.#bar.classList.toggle("hot", this.#held > HOT_DBFS);
    this.#mark.style.left = `${(100 * share(this.#held)).toFixed(1)}%`;
    this.#number.textContent = peak > 0 ? `${Math.round(this.#held)} dBFS`.replace("-", "−") : "silent";
    if (performance.now() > this.#saidAt + SAID_EVERY_MS) {
      this.#saidAt = performance.now();
      this.#track.setAttribute("aria-valuenow", String(Math.round(Math.max(this.#held, QUIETEST_DBFS))));
      this.#track.setAttribute("aria-valuetext", this.#number.textContent);
    }
  }
}

/** The delay as a bar of its parts. */
export class DelayBar {
  #total;
  #bar;
  #list;
  /** @type {{span: HTMLElement, item: HTMLElement}[]} */
  #parts = [];

  /**
   * @param {HTMLElement} total
   * @param {HTMLElement} bar
   * @param {HTMLElement} list
   */
  constructor(total, bar, list) {
    this.#total = total;
    this.#bar = bar;
    this.#list = list;
  }

  /** @param {[name: string, ms: number][]} parts in the order of the sound */
  show(parts) {
    const known = parts.filter(([, ms]) => ms > 0);
    const sum = known.reduce((all, [, ms]) => all + ms, 0);
    this.#total.textContent = known.length ? `${Math.round(sum)} ms` : "–";
    if (this.#parts.length !== parts.length) {
      this.#parts = parts.map(([name]) => {
        const part = { span: element("span"), item: element("li") };
        part.span.dataset.part = part.item.dataset.part = name;
        part.item.append(element("i"), "");
        return part;
      });
      this.#bar.replaceChildren(...this.#parts.map(({ span }) => span));
      this.#list.replaceChildren(...this.#parts.map(({ item }) => item));
    }
    parts.forEach(([name, ms], index) => {
      const { span, item } = this.#parts[index];
      span.style.flex = `${Math.max(ms, 0)} 0 0`;
      /** @type {ChildNode} */ (item.lastChild).textContent = `${name} ${ms > 0 ? `${Math.round(ms)} ms` : "–"}`;
    });
  }
}

/**
 * Show names and values; only what changed is touched.
 * @param {HTMLElement} list a `dl`
 * @param {[name: string, value: string][]} numbers
 */
export function showNumbers(list, numbers) {
  const isOf = (/** @type {Element} */ pair, /** @type {number} */ i) =>
    pair.firstElementChild?.textContent === numbers[i]?.[0];
  if (list.children.length !== numbers.length || ![...list.children].every(isOf)) {
    list.replaceChildren(
      ...numbers.map(([name]) => {
        const pair = element("div");
        const term = element("dt");
        term.textContent = name;
        pair.append(term, element("dd"));
        return pair;
      }),
    );
  }
  numbers.forEach(([, value], index) => {
    const place = /** @type {Element} */ (list.children[index].lastElementChild);
    if (place.textContent !== value) {
      place.textContent = value;
    }
  });
}

/**
 * What there is to tell of a mode. A text that is spoken passes no wire in packets, is waited for, and was said by nobody: of it
 * there is neither loss nor delay, and its bitrate is that of the codes which the talker writes.
 * @param {string} mode
 * @param {Record<string, any> | null} codec of the server's hello
 * @param {Record<string, any> | null} stats the server's message
 * @param {import("./sound.js").Report | null} report
 * @param {number} heardS
 * @returns {{wire: string, numbers: [name: string, value: string][]}}
 */
export function told(mode, codec, stats, report, heardS) {
  const isSpeak = mode === "speak";
  const ms = (/** @type {number | undefined} */ value) => (value === undefined ? "–" : `${Math.round(value)} ms`);
  const packets = stats?.packets ?? {};
  const late = Object.entries(stats?.dropped ?? {}).filter(([name]) => !name.endsWith(".stale")); // those were cancelled
  const dropped = late.reduce((all, [, n]) => all + n, 0);
  /** @type {[string, string][]} */
  const ofTheWire = [
    ["Skipped", ms(report?.skippedMs)],
    ["Packets lost", stats ? `${packets.lost ?? 0} of ${packets.sent ?? 0}` : "–"],
    ["Repaired, concealed", stats ? `${packets.repaired ?? 0}, ${packets.concealed ?? 0}` : "–"],
    ["Dropped late", stats ? String(dropped) : "–"],
  ];
  const wire = (/** @type {any} */ { books, wire_bps }) =>
    isSpeak ? `${bitrate(codec ?? {}, books)} bit/s` : `${Math.round(wire_bps)} bit/s with headers`;
  return {
    wire: stats ? wire(stats) : "",
    numbers: [
      ["Buffer", ms(report?.bufferedMs)],
      ["Reserve", ms(report?.reserveMs)],
      ["Ran dry", report ? `${report.underruns}×` : "–"],
      ...(isSpeak ? [] : ofTheWire),
      ["Heard", report ? `${heardS.toFixed(0)} s` : "–"],
    ],
  };
}

/** The delay of one's own voice and the counts of one conversation: the newest of everything that is known. */
export class Readout {
  #bar = new DelayBar(by("delay"), by("delay-bar"), by("delay-parts"));
  #rttMs = 0;
  #codecMs = 0;
  #mode = "loopback";
  /** @type {Record<string, any> | null} */
  #codec = null;
  /** @type {Record<string, any> | null} */
  #stats = null;
  /** @type {import("./sound.js").Report | null} */
  #report = null;

  /**
   * Forget the last one.
   * @param {string} mode of the next
   * @param {Record<string, any> | null} codec of the server's hello
   */
  begin(mode, codec) {
    this.#mode = mode;
    this.#codec = codec;
    this.#rttMs = this.#codecMs = 0;
    this.#stats = this.#report = null;
  }

  /** @param {number} rttMs */
  roundTrip(rttMs) {
    this.#rttMs = rttMs;
  }

  /** @param {{delay_ms: number}} started the server's message */
  started({ delay_ms }) {
    this.#codecMs = delay_ms;
  }

  /** @param {Record<string, any>} stats the server's message */
  stats(stats) {
    this.#stats = stats;
  }

  /** @param {import("./sound.js").Report} report */
  report(report) {
    this.#report = report;
  }

  /** @param {import("./sound.js").Sound | null} sound of this page */
  show(sound) {
    const report = this.#report;
    const stats = this.#stats;
    this.#bar.show([
      ["microphone", sound?.blockMs ?? 0],
      ["network", this.#rttMs],
      ["codec", this.#codecMs],
      ["server", stats?.age.p50_ms ?? 0],
      ["buffer", report?.bufferedMs ?? 0],
      ["loudspeaker", sound?.outputMs ?? 0],
    ]);
    const { wire, numbers } = told(this.#mode, this.#codec, stats, report, sound?.heard.seconds ?? 0);
    showNumbers(by("numbers"), numbers);
    by("wire").textContent = wire;
  }
}

/**
 * What so many codebooks cost.
 * @param {Record<string, any>} codec
 * @param {number} books
 * @returns {number} bit/s
 */
export function bitrate(codec, books) {
  return (books * Math.ceil(Math.log2(codec.book_size)) * 1000) / codec.frame_ms;
}
