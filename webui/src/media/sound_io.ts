// The microphone and the loudspeaker of a call, in samples of 16 bits.

const SCRIPT = '/page/call.js';
const SPEAKER_RATE = 24_000;  // of the server's sound

export interface Microphone {
  rate: number;
  /** Without it nothing is heard, and nothing is sent. */
  mute(muted: boolean): void;
  close(): void;
}

function source(context: AudioContext, stream: MediaStream): MediaStreamAudioSourceNode | undefined {
  try {
    return context.createMediaStreamSource(stream);
  } catch {
    return undefined;  // some browsers connect no microphone to a context of another rate
  }
}

/** `onPiece` gets the samples as they come. Throws when there is no microphone or the user does not allow it. */
export async function openMicrophone(onPiece: (samples: Int16Array) => void): Promise<Microphone> {
  const wanted = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
  let context = new AudioContext({ sampleRate: SPEAKER_RATE });
  let input = source(context, stream);
  if (!input) {
    await context.close();
    context = new AudioContext();
    input = context.createMediaStreamSource(stream);
  }
  await context.audioWorklet.addModule(SCRIPT);
  const tap = new AudioWorkletNode(context, 'microphone', { numberOfInputs: 1, numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => onPiece(new Int16Array(data));
  input.connect(tap);
  return {
    rate: context.sampleRate,
    mute(muted) {
      stream.getTracks().forEach((track) => (track.enabled = !muted));
    },
    close() {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}

export interface Player {
  /** Samples of the present answer that were heard. */
  readonly played: number;
  push(samples: Int16Array): void;
  /** The answer is complete. */
  end(): void;
  /** Silence, at once. */
  clear(): void;
  close(): void;
}

export async function openPlayer(onPlayed: (samples: number) => void): Promise<Player> {
  const context = new AudioContext({ sampleRate: SPEAKER_RATE });
  await context.audioWorklet.addModule(SCRIPT);
  const node = new AudioWorkletNode(context, 'player', { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  let played = 0;
  node.port.onmessage = ({ data }: MessageEvent<number>) => {
    played = data;
    onPlayed(data);
  };
  return {
    get played() { return played; },
    push: (samples) => node.port.postMessage({ samples: samples.buffer }, [samples.buffer]),
    end: () => node.port.postMessage('end'),
    clear() {
      played = 0;
      node.port.postMessage('clear');
    },
    close() { context.close(); },
  };
}
