// @ts-check
/** The page: its keys and dials on one side, a conversation on the other. */
import { Conversation } from "./conversation.js";
import { Dials } from "./dials.js";
import { by, radio } from "./dom.js";
import { greet } from "./greeting.js";
import { whyRefused } from "./microphone.js";
import { Meter, Readout } from "./readout.js";
import { Scope } from "./scope.js";
import { Backoff, address, isToken } from "./socket.js";
import { tooLong } from "./supply.js";
import { Typed } from "./typed.js";
import { Words, lastWords } from "./words.js";

/** Of the keys of `sessionStorage`: gone with the tab. */
const TOKEN_KEY = "sottovoce.token";
const LEAD_MS = 300;
/** @type {Record<string, string>} */
const SAYINGS = { loopback: "You hear yourself through the wire.", speak: "Speaking." };

const key = /** @type {HTMLButtonElement} */ (by("key"));
const cancel = /** @type {HTMLButtonElement} */ (by("cancel"));
const mute = /** @type {HTMLButtonElement} */ (by("mute"));
const save = /** @type {HTMLButtonElement} */ (by("save"));
const text = /** @type {HTMLTextAreaElement} */ (by("text"));
const voice = /** @type {HTMLSelectElement} */ (by("voice"));
const whileTyping = /** @type {HTMLInputElement} */ (by("while-typing"));
const fileInput = /** @type {HTMLInputElement} */ (by("file"));
const headphones = /** @type {HTMLInputElement} */ (by("headphones"));
const shortcuts = /** @type {HTMLInputElement} */ (by("shortcuts"));
const token = /** @type {HTMLInputElement} */ (by("token"));
const modeKeys = /** @type {HTMLFieldSetElement} */ (by("modes"));
const meters = {
  in: new Meter(by("meter-in"), "Level of the voice that goes in"),
  out: new Meter(by("meter-out"), "Level of the voice that comes out"),
};
const words = new Words(by("words"));
const readout = new Readout();
const dials = new Dials((wishes) => conversation?.update(wishes));
const url = address(location);

/** The server's, once it has answered. @type {Record<string, any> | null} */
let hello = null;
/** @type {Scope | null} */
let scope = null;
/** @type {Conversation | null} */
let conversation = null;
/** What the last one sounded like. @type {import("./wav.js").Heard | null} */
let heard = null;
let typed = new Typed();
/** Nothing will be added to the text. */
let textIsComplete = false;
/** What to say of a barge-in until something is heard again. */
let interruption = "";

// ---- the server ------------------------------------------------------------------------------------------------------

/** Ask the server what it can do, until it answers. */
async function findServer() {
  const backoff = new Backoff();
  for (;;) {
    const answer = await greet(url, sessionStorage.getItem(TOKEN_KEY));
    if ("hello" in answer) {
      meet(answer.hello);
      return;
    }
    const { code, message, retry_ms } = answer.error;
    if (code === "unauthorized") {
      askForToken(sessionStorage.getItem(TOKEN_KEY) ? "This is not the server's token." : "");
      return;
    }
    if (code !== "gone" && code !== "rate_limited" && code !== "internal") {
      say("refused", `The server says: ${message}.`);
      return;
    }
    const pauseMs = backoff.next(retry_ms);
    say("waiting", `The server does not answer. Next attempt in ${Math.max(1, Math.round(pauseMs / 1000))} s.`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** @param {Record<string, any>} greeting */
function meet(greeting) {
  hello = greeting;
  const { codec, modes, voices } = greeting;
  by("gate").hidden = true;
  by("codec").textContent =
    `${codec.preset} · ${codec.rate_hz / 1000} kHz · ${codec.books} books · ${Math.round(codec.frame_ms)} ms a frame`;
  modeKeys.hidden = !(modes.includes("loopback") && modes.includes("speak"));
  voice.replaceChildren(...voices.map((/** @type {string} */ name) => new Option(name)));
  by("voice-choice").hidden = voices.length < 2;
  dials.begin(codec);
  by("most-books").textContent = codec.books;
  scope ??= new Scope({ in: by("mel-in"), codes: by("codes"), out: by("mel-out") }, codec);
  key.disabled = false;
  chooseMode(modes.includes(mode()) ? mode() : modes[0]);
}

/** @param {string} line what was wrong with the last one */
function askForToken(line) {
  by("gate").hidden = false;
  by("gate-line").textContent = line;
  key.disabled = true;
  say("off", "This server asks for its token.");
  token.focus();
}

// ---- talking ---------------------------------------------------------------------------------------------------------

function mode() {
  return document.body.dataset.mode ?? "loopback";
}

/** Fields of `start`, as the dials stand. */
function wishes() {
  const common = { mode: mode(), view: true, lead_ms: LEAD_MS };
  return mode() === "speak"
    ? { ...common, voice: voice.value || undefined, words: true, live: false, books: dials.books }
    : { ...common, live: true, ...dials.wishes };
}

/** Why nothing can begin here; empty: it can. */
function obstacle() {
  return window.isSecureContext ? "" : whyRefused(mode() === "speak" ? "silent" : "insecure", location.host);
}

/** Begin; while a key is being pressed. */
function begin() {
  if (hello === null || conversation !== null) {
    return;
  }
  const isFile = mode() === "loopback" && radio("source") === "file";
  const file = isFile ? (fileInput.files?.[0] ?? null) : null;
  if (obstacle()) {
    say("refused", obstacle());
  } else if (isFile && file === null) {
    say("refused", "Choose a sound file first.");
    fileInput.focus();
  } else if (mode() === "speak" && !text.value.trim()) {
    say("refused", "Write something first.");
    text.focus();
  } else if (mode() === "speak" && tooLong(text.value)) {
    say("refused", tooLong(text.value));
    text.focus();
  } else {
    scope?.start();
    words.clear();
    readout.begin(mode(), hello.codec);
    typed = new Typed();
    interruption = "";
    conversation = new Conversation(
      { url, token: sessionStorage.getItem(TOKEN_KEY), codec: hello.codec, wishes, file, headphones: headphones.checked },
      { state: moved, event: happened, report: reported, level: spoke, roundTrip: readout.roundTrip.bind(readout), over },
    );
    heard = conversation.sound.heard;
    void conversation.begin();
  }
}

/**
 * @param {string} state
 * @param {string} line
 */
function moved(state, line) {
  say(state, line || (state === "live" ? SAYINGS[mode()] : ""));
  pumpText();
}

/** @param {{rms: number, peak: number}} level */
function spoke(level) {
  meters.in.show(level);
  key.style.setProperty("--loud", Math.min(4 * level.rms, 1).toFixed(2));
}

/**
 * @param {string} line
 * @param {string} code
 */
function over(line, code) {
  conversation = null;
  textIsComplete = false;
  scope?.stop();
  spoke({ rms: 0, peak: 0 });
  meters.out.show({ rms: 0, peak: 0 });
  mute.setAttribute("aria-pressed", "false");
  if (code === "unauthorized") {
    askForToken("The server has another token now.");
    return;
  }
  say(line ? "refused" : "off", line || interruption);
}

/** @param {any} event */
function happened(event) {
  switch (event.type) {
    case "picture":
      scope?.show(event);
      break;
    case "started":
      readout.started(event);
      break;
    case "stats":
      readout.stats(event);
      break;
    case "words":
      words.add(event.words);
      break;
    case "cancelled":
      words.clear();
      interruption = event.heard ? `Interrupted after: ${lastWords(event.heard)}` : "Interrupted.";
      say("live", interruption);
      break;
    case "error":
      say(document.body.dataset.state ?? "live", `The server says: ${event.message}.`);
      break;
  }
}

/** @param {import("./sound.js").Report} report */
function reported(report) {
  readout.report(report);
  readout.show(conversation?.sound ?? null);
  meters.out.show(report);
  words.light(report.playedMs - (conversation?.sound.outputMs ?? 0));
  save.disabled = heard === null || heard.count === 0;
  if (interruption && report.playing) {
    interruption = "";
    say("live", SAYINGS[mode()]);
  }
}

/** Give the server what is written. */
function pumpText() {
  if (conversation?.isOpen && mode() === "speak" && !tooLong(text.value)) {
    conversation.text(typed.take(text.value, textIsComplete));
    if (textIsComplete) {
      conversation.endText();
    }
  }
}

/** Tell at once when the text has become too long, or is so no more: nothing of it is cut off. */
function weighText() {
  const line = tooLong(text.value);
  const wasTooLong = text.validity.customError;
  text.setCustomValidity(line);
  if (line || wasTooLong) {
    if (conversation) {
      say(document.body.dataset.state ?? "live", line || SAYINGS.speak);
    } else {
      say(line ? "refused" : "off", line);
    }
  }
}

function toggle() {
  if (conversation) {
    conversation.stop();
  } else {
    textIsComplete = true;
    begin();
  }
}

function toggleMute() {
  if (!mute.disabled && !mute.hidden) {
    const muted = mute.getAttribute("aria-pressed") !== "true";
    mute.setAttribute("aria-pressed", String(muted));
    conversation?.sound.mute(muted);
  }
}

/** A wav file of what was heard. */
function download() {
  if (heard !== null) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([heard.wav()], { type: "audio/wav" }));
    link.download = `sottovoce ${new Date().toISOString().slice(0, 19).replaceAll(":", ".")}.wav`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

// ---- what is shown ---------------------------------------------------------------------------------------------------

/**
 * @param {string} state
 * @param {string} line empty: what there is to do, or nothing
 */
function say(state, line) {
  const isSpeak = mode() === "speak";
  const busy = conversation !== null;
  const isLive = busy && state !== "connecting";
  const idle = isSpeak ? "Write something, then press the key." : "Press the key, and speak.";
  document.body.dataset.state = state;
  document.body.toggleAttribute("data-busy", busy);
  by("status").textContent = line || (state === "off" ? idle : "");
  by("key-label").textContent = busy ? "Stop" : isSpeak ? "Speak" : "Talk";
  cancel.disabled = !isLive;
  mute.disabled = !isLive || radio("source") === "file";
  save.disabled = heard === null || heard.count === 0;
  modeKeys.disabled = busy;
}

/** @param {string} chosen */
function chooseMode(chosen) {
  document.body.dataset.mode = chosen;
  const isSpeak = chosen === "speak";
  by("speak").hidden = !isSpeak;
  for (const id of ["figure-in", "loss-dial", "burst-dial", "mute", "mute-hint", "delay-part"]) {
    by(id).hidden = isSpeak;
  }
  by("wire-name").textContent = isSpeak ? "the codes" : "the wire";
  /** @type {HTMLInputElement} */ (modeKeys.querySelector(`[value="${chosen}"]`)).checked = true;
  readout.begin(chosen, hello?.codec ?? null);
  readout.show(null);
  say(obstacle() ? "refused" : "off", obstacle());
}

// ---- keys ------------------------------------------------------------------------------------------------------------

key.onclick = toggle;
cancel.onclick = () => conversation?.cancel();
mute.onclick = toggleMute;
save.onclick = download;
by("gate").onsubmit = (/** @type {Event} */ event) => {
  event.preventDefault();
  const given = token.value.trim();
  token.value = "";
  if (!isToken(given)) {
    by("gate-line").textContent = "A token has 8 to 200 letters, digits and . _ ~ + -";
    return;
  }
  sessionStorage.setItem(TOKEN_KEY, given);
  void findServer();
};
by("speak").onsubmit = (/** @type {Event} */ event) => event.preventDefault();
modeKeys.onchange = () => chooseMode(radio("mode"));
by("source").onchange = () => {
  by("file-choice").hidden = radio("source") !== "file";
  by("headphones-choice").hidden = radio("source") === "file";
};
text.onkeydown = (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    textIsComplete = true;
    if (conversation) {
      pumpText();
    } else {
      begin();
    }
  }
};
text.oninput = () => {
  weighText();
  if (whileTyping.checked && conversation === null && /\S\s/.test(text.value)) {
    textIsComplete = false;
    begin();
  }
  pumpText();
};
document.onkeydown = (event) => {
  if (event.key === "Escape") {
    conversation?.cancel();
    return;
  }
  const place = /** @type {HTMLElement} */ (event.target);
  const isWritten = place.closest("input[type=password], input[type=file], textarea, select") !== null;
  if (isWritten || !shortcuts.checked || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  }
  if (event.key === " " && place.closest("button, input") === null) {
    event.preventDefault();
    if (!event.repeat && !key.disabled) {
      toggle();
    }
  } else if (event.key.toLowerCase() === "m") {
    toggleMute();
  } else if (/^[1-9]$/.test(event.key)) {
    dials.choose(Number(event.key));
  }
};

readout.show(null);
void findServer();
