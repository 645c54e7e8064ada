// @ts-check
/** One time that somebody talks, or lets speak: the session, its socket, and the sound, from the key press to the last sample. */
import { Session } from "./session.js";
import { Backoff, Link } from "./socket.js";
import { Sound } from "./sound.js";
import { Supply } from "./supply.js";
import { WireError } from "./wire.js";

/** Sound that waits for the line longer than this is too late to be sent. */
const MOST_WAITING_MS = 400;
const PING_MS = 2000;
/** How long to try to reach the server. */
const PATIENCE_MS = 120_000;
/** A line that was there for so long was a success: who lets everybody in and hangs up is asked ever more rarely. */
const LONG_LINE_MS = 2000;
/** How long the server may take to say its last. */
const GOODBYE_MS = 10_000;
/** Where nothing is spoken any more and no news comes for so long, what waits can only be text in which nothing can be said. */
const NEWS_MS = 5000;
/** The line, where the server's silence is all that is known. */
const NO_ANSWER = "The server does not answer.";

/**
 * @typedef {import("./session.js").Event} Event
 * @typedef {import("./sound.js").Report} Report
 *
 * @typedef {object} ConversationListener
 * @property {(state: "connecting" | "live" | "waiting" | "ending", line: string) => void} state and a line for the person
 * @property {(event: Event) => void} event pictures and control messages
 * @property {(report: Report) => void} report
 * @property {(level: {rms: number, peak: number}) => void} level of the microphone
 * @property {(rttMs: number) => void} roundTrip
 * @property {(line: string, code: string) => void} over once; an empty line: all is well
 *
 * @typedef {object} Options
 * @property {string} url
 * @property {string | null} token
 * @property {Record<string, any>} codec of the server's hello
 * @property {() => Record<string, unknown> & {mode: string}} wishes for `start`, as the dials stand
 * @property {File | null} file in place of the microphone
 * @property {boolean} headphones
 */

export class Conversation {
  #options;
  #listener;
  #sound;
  #session = new Session();
  /** The text; of none, until the server has told how much of it may wait. */
  #supply = new Supply(0);
  /** When something of the text was given, or spoken. */
  #newsAt = 0;
  /** @type {Link | null} */
  #link = null;
  #backoff = new Backoff();
  #beganAt = 0;
  /** Counts generations over all connections. */
  #turn = 0;
  #reports = 0;
  #failingSince = 0;
  #retry = 0;
  #pinging = 0;
  #goodbye = 0;
  #listening = false;
  /** The person wants to say no more. */
  #isStopping = false;
  #isOver = false;
  /** The server has said its last; what waits is still to be heard. */
  #draining = false;
  #live;

  /**
   * Call it while a key is being pressed.
   * @param {Options} options
   * @param {ConversationListener} listener
   */
  constructor(options, listener) {
    this.#options = options;
    this.#listener = listener;
    this.#live = options.wishes().mode === "loopback";
    this.#sound = new Sound({
      captured: (samples) => this.#captured(samples),
      level: (level) => listener.level(level),
      report: (report) => this.#reported(report),
      sourceEnded: () => this.stop(),
      deafened: () => this.#hangUp(),
    });
  }

  get sound() {
    return this.#sound;
  }

  /** Whether text or sound may be sent now. */
  get isOpen() {
    return this.#session.isOpen && !this.#supply.isComplete;
  }

  /** Ask for the microphone, then for the server. */
  async begin() {
    const { codec, file, headphones } = this.#options;
    this.#listener.state("connecting", this.#live && !file ? "Waiting for the microphone …" : "Connecting …");
    try {
      await this.#sound.open({ wireHz: codec.rate_hz, frameSamples: codec.frame_samples, live: this.#live });
      if (this.#live) {
        await this.#sound.choose(file, headphones);
      }
    } catch (error) {
      await this.#finish(error instanceof Error ? error.message : String(error), "refused");
    }
    if (this.#isOver) {
      await this.#sound.close(); // a microphone that was granted after the key was pressed again
    } else {
      this.#connect();
    }
  }

  /** Barge in: nothing of what is on its way is heard any more. */
  cancel() {
    if (this.#session.cancel()) {
      this.#restart();
      this.#supply.drop();
      this.#give();
      if (this.#session.isEnding) {
        this.#hangUpSoon();
      }
      this.#send();
    }
  }

  /** Say no more, and hear what is left of it; said twice, or of a text: hear nothing more either. */
  stop() {
    if (!this.#session.isOpen || this.#isStopping || !this.#live) {
      void this.#finish("", "end");
      return;
    }
    this.#isStopping = true;
    this.#listener.state("ending", "");
    this.#hangUpSoon();
    this.#sound.deafen(); // what it has heard until now still comes, then `deafened`
  }

  /** @param {Record<string, unknown>} dials */
  update(dials) {
    this.#session.update(dials);
    this.#send();
  }

  /** @param {string} text */
  text(text) {
    this.#supply.write(text);
    this.#give();
  }

  /** The text is complete: hear it to its end. */
  endText() {
    this.#supply.end();
    this.#give();
  }

  // ---- the line ------------------------------------------------------------------------------------------------------

  #connect() {
    const { url, token } = this.#options;
    this.#session = new Session();
    this.#restart();
    this.#link = new Link(url, token, {
      message: (message) => this.#received(message),
      closed: () => this.#lost(NO_ANSWER),
    });
  }

  /** @param {string | ArrayBuffer} message */
  #received(message) {
    try {
      for (const event of this.#session.receive(message)) {
        this.#happened(event);
      }
      this.#send();
    } catch (error) {
      if (!(error instanceof WireError)) {
        throw error;
      }
      void this.#finish(`This page and the server do not understand each other: ${error.message}.`, "bad_message");
    }
  }

  /** @param {any} event */
  #happened(event) {
    switch (event.type) {
      case "hello":
        this.#greeted(event);
        break;
      case "started":
        this.#began();
        break;
      case "sound":
        this.#newsAt = performance.now();
        if (event.last) {
          this.#sound.endsAt(event.time + event.samples.length);
        }
        this.#sound.play(event.samples, event.time);
        return;
      case "segment.start":
        this.#newsAt = performance.now();
        this.#supply.begun(event.text ?? "");
        this.#give();
        break;
      case "segment.end":
        this.#sound.endsAt(Math.round((event.end_ms * this.#options.codec.rate_hz) / 1000));
        break;
      case "pong":
        this.#listener.roundTrip(performance.now() - event.t);
        return;
      case "error":
        if (event.fatal !== false) {
          this.#refused(event);
          return;
        }
        break;
      case "end":
        this.#sound.endsAt(this.#session.soundEnd);
        this.#draining = true;
        this.#link?.close();
        break;
    }
    this.#listener.event(event);
  }

  /** @param {any} hello */
  #greeted(hello) {
    const { codec, wishes } = this.#options;
    if (hello.codec.rate_hz !== codec.rate_hz || hello.codec.frame_samples !== codec.frame_samples) {
      void this.#finish("The server has another codec than before. Reload this page.", "model_mismatch");
      return;
    }
    this.#supply = new Supply(hello.limits.text_chars);
    this.#session.start(wishes());
  }

  #began() {
    this.#beganAt = performance.now();
    clearInterval(this.#pinging);
    const ping = () => {
      this.#session.ping(performance.now());
      this.#send();
    };
    this.#pinging = window.setInterval(ping, PING_MS);
    this.#session.ping(performance.now());
    if (this.#live && !this.#listening) {
      this.#listening = true;
      this.#sound.listen();
    }
    this.#listener.state("live", "");
  }

  /** @param {{code: string, message: string, retry_ms?: number}} error */
  #refused({ code, message, retry_ms }) {
    const line = `The server says: ${message}.`;
    if (code === "no_slot" || code === "rate_limited" || code === "slow") {
      this.#lost(line, retry_ms);
    } else {
      void this.#finish(line, code);
    }
  }

  /**
   * The line is gone: try again, later each time.
   * @param {string} line
   * @param {number} [leastMs]
   */
  #lost(line, leastMs) {
    this.#link?.close();
    clearInterval(this.#pinging);
    if (this.#isOver || this.#draining) {
      return;
    }
    const wasOpen = this.#session.state === "open";
    if (this.#isStopping || (wasOpen && !this.#live)) {
      void this.#finish(this.#isStopping ? "" : "The line to the server broke.", "gone");
      return;
    }
    const now = performance.now();
    if (wasOpen && now - this.#beganAt >= LONG_LINE_MS) {
      this.#backoff.reset();
      this.#failingSince = 0;
    }
    this.#failingSince ||= now;
    if (now - this.#failingSince > PATIENCE_MS) {
      void this.#finish(`${line} Start again when it is back.`, "gone");
      return;
    }
    const pauseMs = this.#backoff.next(leastMs);
    const what = wasOpen ? "The line to the server broke." : line;
    this.#listener.state("waiting", `${what} Next attempt in ${Math.max(1, Math.round(pauseMs / 1000))} s.`);
    this.#retry = window.setTimeout(() => this.#connect(), pauseMs);
  }

  /** Everything was said: the server sends the rest, then its end. */
  #hangUp() {
    if (this.#isStopping) {
      this.#session.end();
      this.#send();
    }
  }

  /** Give the server what it has room for of the text, and the end of it when that was all. */
  #give() {
    if (!this.#session.isOpen) {
      return;
    }
    for (const piece of this.#supply.take()) {
      this.#newsAt = performance.now();
      this.#session.text(piece);
    }
    if (this.#supply.isComplete && !this.#supply.waits) {
      this.#session.endText();
      this.#session.end();
    }
    this.#send();
  }

  #send() {
    this.#link?.send(this.#session.drain());
  }

  #hangUpSoon() {
    clearTimeout(this.#goodbye);
    this.#goodbye = window.setTimeout(() => void this.#finish("", "end"), GOODBYE_MS);
  }

  /**
   * @param {string} line
   * @param {string} code
   */
  async #finish(line, code) {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#goodbye);
    clearInterval(this.#pinging);
    this.#link?.close();
    await this.#sound.close();
    this.#listener.over(line, code);
  }

  // ---- the sound -----------------------------------------------------------------------------------------------------

  /** From here on another generation is heard. */
  #restart() {
    this.#turn += 1;
    this.#sound.restart(this.#turn);
  }

  /** @param {Int16Array} samples */
  #captured(samples) {
    const waitingMs = ((this.#link?.waitingBytes ?? 0) / 2 / this.#options.codec.rate_hz) * 1000;
    if (waitingMs > MOST_WAITING_MS) {
      this.#session.leaveOut(samples.length);
    } else {
      this.#session.sound(samples);
      this.#send();
    }
  }

  /** @param {Report} report */
  #reported(report) {
    if (report.turn !== this.#turn || this.#isOver) {
      return;
    }
    if (this.#reports++ % 2 === 0) {
      this.#session.credit(report.playedMs, report.bufferedMs, report.underruns);
      this.#send();
    }
    this.#listener.report(report);
    const isQuiet = !report.playing && report.bufferedMs === 0;
    if (isQuiet && this.#draining && report.isComplete) {
      void this.#finish("", "end");
    } else if (isQuiet && this.#supply.waits && performance.now() > this.#newsAt + NEWS_MS) {
      this.#supply.passOver();
      this.#give();
    }
  }
}
