// @ts-check
/** Why a microphone is refused, in words that help. */

/**
 * @param {string} name of the DOMException that `getUserMedia` raised; "insecure", "silent" (no sound at all) or "missing" where there is none to ask
 * @param {string} host of the page
 */
export function whyRefused(name, host) {
  switch (name) {
    case "insecure":
      return (
        `Browsers give a microphone to secure pages only, and this one came over plain http from ${host}. ` +
        "Open it over https, or on the server's own machine as http://localhost."
      );
    case "silent":
      return (
        `Browsers play live sound on secure pages only, and this one came over plain http from ${host}. ` +
        "Open it over https, or on the server's own machine as http://localhost."
      );
    case "missing":
      return "This browser has no way to use a microphone. A current Firefox, Chrome, Edge or Safari has.";
    case "NotAllowedError":
    case "SecurityError":
      return (
        "The microphone was refused. Allow it for this page in the browser's site settings " +
        "(the icon beside the address), and in the system's privacy settings, then try again."
      );
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Plug one in, or choose a sound file instead.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone is there but cannot be used: another program may have it. Close that one and try again.";
    default:
      return `The microphone cannot be used (${name}).`;
  }
}

/** A microphone was refused. */
export class MicrophoneRefused extends Error {}

/**
 * @param {boolean} headphones nothing of the loudspeaker gets into the microphone
 * @returns {Promise<MediaStream>}
 * @throws {MicrophoneRefused} with a line for the person
 */
export async function openMicrophone(headphones) {
  if (!window.isSecureContext) {
    throw new MicrophoneRefused(whyRefused("insecure", location.host));
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new MicrophoneRefused(whyRefused("missing", location.host));
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: !headphones, noiseSuppression: false, autoGainControl: false },
    });
  } catch (error) {
    throw new MicrophoneRefused(whyRefused(error instanceof DOMException ? error.name : "unknown", location.host));
  }
}
