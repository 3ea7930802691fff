export type Role = 'user' | 'assistant';
export type MediaKind = 'image' | 'video' | 'audio';

/** How the server is to look at a video; what is missing is the model's own rule. */
export interface VideoSettings {
  fps?: number;
  pack?: number;
  max_frames?: number;
}

/** A file of a message. Its bytes lie in the media store under the same id. */
export interface Attachment {
  id: string;
  kind: MediaKind;
  name: string;
  type: string;
  size: number;
  video?: VideoSettings;
}

export interface Stats {
  firstTokenMs: number;
  totalMs: number;
  reasoningMs?: number;
  promptTokens?: number;
  completionTokens?: number;
  imageMs?: number;      // of pictures and frames: their way through the model's tower
  imageTokens?: number;
}

export type Finish = 'stop' | 'length' | 'stopped' | 'error';

/** A message. Messages with the same parent are versions of one another. */
export interface Message {
  id: string;
  parent: string | null;
  role: Role;
  text: string;
  created: number;
  attachments?: Attachment[];
  reasoning?: string;
  model?: string;
  finish?: Finish;
  error?: string;
  stats?: Stats;
}

/** A question and its answer that the model sees before the conversation. */
export interface Example {
  id: string;
  attachments: Attachment[];
  question: string;
  answer: string;
}

export interface Chat {
  id: string;
  title: string;
  created: number;
  updated: number;
  system: string;
  examples: Example[];
  messages: Record<string, Message>;
  leaf: string | null;  // last message of the version that is shown
}

/** Settings of the answers; what is missing is the model's default. The names are the server's. */
export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  repetition_penalty?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  max_tokens?: number;
  min_tokens?: number;
  seed?: number;
  num_beams?: number;
  max_slices?: number;
  stop?: string[];
}

export type Defaults = Omit<Sampling, 'seed' | 'max_slices' | 'stop'>;

export interface CallSettings {
  voice: string;         // a name of the model's voices, or "own" for the user's clip
  language: 'en' | 'zh';
  instructions: string;  // empty: the model's published ones
  interrupts: boolean;   // talking silences an answer
  writesDown: boolean;   // what the user says is shown, too
  closely: boolean;      // the last picture of a turn is also looked at in slices
  pauseMs?: number;      // of silence that ends a turn
}

/** A row of GET /props. */
export interface ModelFacts {
  id: string;
  title: string;
  loaded?: boolean;  // absent: it is
  vision: boolean;
  audio: boolean;
  voices?: string[];  // none: it does not speak
  thinking: boolean;
  packed_video: boolean;
  max_slices: number;
  defaults: { sampling: Defaults; thinking: Defaults; beams: Defaults };
}

export interface Limits {
  file_bytes: number;
  files: number;
}
