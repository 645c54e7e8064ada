// @ts-check
/** From the microphone: at the wire's rate, in blocks of s16. `process` allocates nothing. */
import { Level } from "./level.js";
import { Pool } from "./pool.js";
import { Resampler } from "./resample.js";

const QUANTUM = 128;
const REPORTS_PER_S = 20;
const BLOCKS = 50;

class Capture extends AudioWorkletProcessor {
  #resampler;
  #pool;
  #level = new Level();
  #made;
  #sinceReport = 0;
  #on = true;
  #report = { type: "level", rms: 0, peak: 0, missed: 0 };

  /** @param {AudioWorkletNodeOptions} options with `wireHz` and `blockSamples` */
  constructor(options) {
    super();
    const { wireHz, blockSamples } = options.processorOptions;
    this.#resampler = new Resampler(sampleRate, wireHz, QUANTUM);
    this.#made = new Float32Array(Math.ceil((QUANTUM * wireHz) / sampleRate) + 1);
    this.#pool = new Pool(this.port, "captured", blockSamples, BLOCKS);
    this.port.onmessage = ({ data }) => {
      if (data.type === "empty") {
        this.#pool.giveBack(data.buffer);
      } else if (data.type === "stop") {
        this.#pool.flush();
        this.port.postMessage({ type: "stopped" });
        this.#on = false;
      }
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    if (!this.#on) {
      return false;
    }
    const input = inputs[0][0];
    if (input === undefined) {
      return true; // nothing is connected
    }
    this.#level.hear(input, input.length);
    this.#resampler.feed(input, input.length);
    const count = this.#resampler.available;
    this.#resampler.produce(this.#made, 0, count);
    this.#pool.write(this.#made, count);
    this.#sinceReport += input.length;
    if (this.#sinceReport >= sampleRate / REPORTS_PER_S) {
      this.#sinceReport = 0;
      this.#report.rms = this.#level.rms;
      this.#report.peak = this.#level.peak;
      this.#report.missed = this.#pool.missed;
      this.port.postMessage(this.#report);
      this.#level.restart();
    }
    return true;
  }
}

registerProcessor("sottovoce-capture", Capture);
