// @ts-check
/** To the loudspeaker: what `jitter.js` says, at the sound card's rate; and a copy of all of it. `process` allocates nothing. */
import { FADE_MS, Playout } from "./jitter.js";
import { Level } from "./level.js";
import { Pool } from "./pool.js";
import { Resampler } from "./resample.js";

const QUANTUM = 128;
const REPORTS_PER_S = 20;
const HEARD_SAMPLES = 4096;
const BLOCKS = 32;

class Playback extends AudioWorkletProcessor {
  #playout;
  #resampler;
  #pulled;
  #pool;
  #level = new Level();
  #sinceReport = 0;
  #keeping = false;
  /** Samples until it ends; < 0: it goes on. */
  #left = -1;
  #perMs;
  #report = {
    type: "report",
    turn: 0,
    blocks: 0,
    playedMs: 0,
    bufferedMs: 0,
    reserveMs: 0,
    skippedMs: 0,
    underruns: 0,
    overflowed: 0,
    missed: 0,
    playing: false,
    rms: 0,
    peak: 0,
  };

  /** @param {AudioWorkletNodeOptions} options with `wireHz`, `frameSamples` and `live` */
  constructor(options) {
    super();
    const { wireHz, frameSamples, live } = options.processorOptions;
    this.#perMs = wireHz / 1000;
    this.#playout = new Playout({ rateHz: wireHz, frameSamples, live });
    const most = Math.ceil((QUANTUM * wireHz) / sampleRate) + 1;
    this.#resampler = new Resampler(wireHz, sampleRate, most);
    this.#pulled = new Float32Array(most);
    this.#pool = new Pool(this.port, "heard", HEARD_SAMPLES, BLOCKS);
    this.port.onmessage = ({ data }) => this.#told(data);
  }

  /** @param {any} message */
  #told(message) {
    switch (message.type) {
      case "sound":
        this.#keeping = true;
        this.#report.blocks += 1;
        this.#playout.push(message.samples, message.time);
        break;
      case "ends":
        this.#playout.endsAt(message.time);
        break;
      case "restart": // what is told from now on is of another turn
        this.#report.turn = message.turn;
        this.#playout.restart();
        break;
      case "empty":
        this.#pool.giveBack(message.buffer);
        break;
      case "stop":
        this.#playout.restart();
        this.#left = Math.ceil(sampleRate * (FADE_MS / 1000 + (2 * this.#resampler.delaySamples) / (1000 * this.#perMs)));
        break;
    }
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, outputs) {
    if (this.#left === 0) {
      return false;
    }
    const out = outputs[0][0];
    const needed = this.#resampler.needed(out.length);
    this.#playout.pull(this.#pulled, needed);
    this.#resampler.feed(this.#pulled, needed);
    this.#resampler.produce(out, 0, out.length);
    this.#level.hear(out, out.length);
    if (this.#keeping) {
      this.#pool.write(out, out.length);
    }
    this.#sinceReport += out.length;
    if (this.#sinceReport >= sampleRate / REPORTS_PER_S) {
      this.#sinceReport = 0;
      this.#tell();
    }
    if (this.#left > 0) {
      this.#left = Math.max(this.#left - out.length, 0);
      if (this.#left === 0) {
        this.#pool.flush();
        this.#tell();
        this.port.postMessage({ type: "stopped" });
      }
    }
    return true;
  }

  #tell() {
    const report = this.#report;
    const playout = this.#playout;
    report.playedMs = playout.time / this.#perMs;
    report.bufferedMs = playout.buffered / this.#perMs;
    report.reserveMs = playout.reserve / this.#perMs;
    report.skippedMs = playout.skipped / this.#perMs;
    report.underruns = playout.underruns;
    report.overflowed = playout.overflowed;
    report.missed = this.#pool.missed;
    report.playing = playout.playing;
    report.rms = this.#level.rms;
    report.peak = this.#level.peak;
    this.port.postMessage(report);
    this.#level.restart();
  }
}

registerProcessor("sottovoce-playback", Playback);
