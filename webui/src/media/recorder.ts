// The microphone: from a click to a click, as a WAV file.
import { toWav } from './wav';

export interface Recording {
  /** Ends it; the file, or nothing when `keep` is false. */
  end(keep: boolean): Promise<File | undefined>;
}

/** Throws when there is no microphone or the user does not allow it. */
export async function startRecording(): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const recorder = new MediaRecorder(stream);
  const pieces: Blob[] = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  return {
    async end(keep) {
      if (recorder.state !== 'inactive') recorder.stop();
      await stopped;
      stream.getTracks().forEach((track) => track.stop());
      if (!keep) return undefined;
      const wav = await toWav(new Blob(pieces, { type: recorder.mimeType }));
      return new File([wav], `recording-${new Date().toISOString().slice(11, 19)}.wav`, { type: 'audio/wav' });
    },
  };
}

/** Browsers give cameras and microphones only to pages from this machine or by https. */
export function canCapture(): boolean {
  return window.isSecureContext && navigator.mediaDevices !== undefined;
}
