// @ts-check
/** The browser's ears and mouth: one AudioContext at the sound card's rate, an AudioWorklet for each way. */
import { MicrophoneRefused, openMicrophone, whyRefused } from "./microphone.js";
import { Heard } from "./wav.js";

/** What is sent at once. */
const BLOCK_MS = 20;
/** How long the playback may take to end: a sound card that was pulled out never does. */
const GOODBYE_MS = 500;

/** A sound file cannot be used. */
export class FileRefused extends Error {}

/**
 * @typedef {object} Report what the playback tells, see playback-worklet.js
 * @property {number} turn
 * @property {number} playedMs
 * @property {number} bufferedMs
 * @property {number} reserveMs
 * @property {number} skippedMs
 * @property {number} underruns
 * @property {boolean} playing
 * @property {boolean} isComplete whether the playback knows of everything that was given to it
 * @property {number} rms
 * @property {number} peak
 *
 * @typedef {object} SoundListener
 * @property {(samples: Int16Array) => void} captured
 * @property {(level: {rms: number, peak: number}) => void} level of what is captured
 * @property {(report: Report) => void} report
 * @property {() => void} sourceEnded the file is over, or the microphone was taken away
 * @property {() => void} deafened everything that was captured was told
 */

export class Sound {
  #context;
  /** @type {AudioWorkletNode | null} */
  #capture = null;
  /** @type {AudioWorkletNode | null} */
  #playback = null;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {AudioBufferSourceNode | null} */
  #file = null;
  #listener;
  /** Blocks of sound that were given to the playback. */
  #given = 0;
  /** @type {() => void} */
  #stopped = () => {};

  /**
   * Call it while a key is being pressed: browsers let nothing sound otherwise.
   * @param {SoundListener} listener
   */
  constructor(listener) {
    this.#listener = listener;
    this.#context = new AudioContext({ latencyHint: "interactive" });
    /** What was heard. */
    this.heard = new Heard(this.#context.sampleRate);
  }

  get rateHz() {
    return this.#context.sampleRate;
  }

  /** What the sound card and the system add on the way out, as far as the browser knows. */
  get outputMs() {
    return 1000 * ((this.#context.baseLatency || 0) + (this.#context.outputLatency || 0));
  }

  /** What waiting for a block adds. */
  get blockMs() {
    return BLOCK_MS;
  }

  /**
   * Make both ways ready; nothing is captured yet.
   * @param {{wireHz: number, frameSamples: number, live: boolean}} options
   */
  async open({ wireHz, frameSamples, live }) {
    const context = this.#context;
    const module = (/** @type {string} */ name) => context.audioWorklet.addModule(new URL(name, import.meta.url));
    if (!context.audioWorklet) {
      throw new MicrophoneRefused(whyRefused("silent", location.host));
    }
    await Promise.all([context.resume(), module("./capture-worklet.js"), module("./playback-worklet.js")]);
    this.#playback = new AudioWorkletNode(context, "sottovoce-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions: { wireHz, frameSamples, live },
    });
    this.#playback.port.onmessage = ({ data }) => this.#played(data);
    this.#playback.connect(context.destination);
    this.#capture = new AudioWorkletNode(context, "sottovoce-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions: { wireHz, blockSamples: Math.round((wireHz * BLOCK_MS) / 1000) },
    });
    this.#capture.port.onmessage = ({ data }) => this.#captured(data);
  }

  /**
   * Get hold of what is to be captured.
   * @param {File | null} file in place of the microphone
   * @param {boolean} headphones see `openMicrophone`
   * @throws {MicrophoneRefused | FileRefused}
   */
  async choose(file, headphones) {
    if (file === null) {
      this.#stream = await openMicrophone(headphones);
      this.#stream.getAudioTracks()[0].onended = () => this.#listener.sourceEnded();
      return;
    }
    const source = this.#context.createBufferSource();
    try {
      source.buffer = await this.#context.decodeAudioData(await file.arrayBuffer());
    } catch {
      throw new FileRefused(`This browser cannot read ${file.name} as sound.`);
    }
    source.onended = () => this.#listener.sourceEnded();
    this.#file = source;
  }

  /** Begin to capture it. */
  listen() {
    const capture = /** @type {AudioWorkletNode} */ (this.#capture);
    if (this.#stream) {
      this.#context.createMediaStreamSource(this.#stream).connect(capture);
    } else if (this.#file) {
      this.#file.connect(capture);
      this.#file.start();
    }
  }

  /** Capture nothing any more; what was is told, then `deafened`. */
  deafen() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#file) {
      this.#file.onended = null;
      this.#file.disconnect();
    }
    this.#stream = this.#file = null;
    this.#capture?.port.postMessage({ type: "stop" });
  }

  /** @param {boolean} muted silence goes out instead of the microphone's sound */
  mute(muted) {
    this.#stream?.getAudioTracks().forEach((track) => (track.enabled = !muted));
  }

  /**
   * @param {Float32Array<ArrayBuffer>} samples are moved
   * @param {number} time in samples of the turn
   */
  play(samples, time) {
    this.#given += 1;
    this.#playback?.port.postMessage({ type: "sound", samples, time }, [samples.buffer]);
  }

  /** @param {number} time in samples of the turn, at which its sound ends or pauses */
  endsAt(time) {
    this.#playback?.port.postMessage({ type: "ends", time });
  }

  /** @param {number} turn from here on; what is playing ends at once */
  restart(turn) {
    this.#playback?.port.postMessage({ type: "restart", turn });
  }

  /** End everything, softly; what was heard is complete then. */
  async close() {
    this.deafen();
    if (this.#context.state === "closed") {
      return;
    }
    if (this.#playback && this.#context.state === "running") {
      const stopped = new Promise((/** @type {(value: void) => void} */ resolve) => (this.#stopped = resolve));
      this.#playback.port.postMessage({ type: "stop" });
      await Promise.race([stopped, new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
    }
    await this.#context.close();
  }

  /** @param {any} message */
  #captured(message) {
    if (message.type === "captured") {
      this.#listener.captured(message.samples.subarray(0, message.count));
      this.#capture?.port.postMessage({ type: "empty", buffer: message.samples.buffer }, [message.samples.buffer]);
    } else if (message.type === "level") {
      this.#listener.level(message);
    } else {
      this.#listener.deafened();
    }
  }

  /** @param {any} message */
  #played(message) {
    if (message.type === "heard") {
      this.heard.add(message.samples.slice(0, message.count));
      this.#playback?.port.postMessage({ type: "empty", buffer: message.samples.buffer }, [message.samples.buffer]);
    } else if (message.type === "report") {
      this.#listener.report({ ...message, isComplete: message.blocks === this.#given });
    } else {
      this.#stopped();
    }
  }
}
