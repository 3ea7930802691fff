// One call: sound and pictures to the server, its answers to the loudspeaker, and what both sides said.
import { signal } from '@preact/signals';
import { RealtimeSession, type ServerEvent } from '../api/realtime';
import { t } from '../i18n';
import { nextCamera, openCamera, type Camera } from '../media/camera';
import { fromBase64, Recent, toBase64 } from '../media/pcm';
import { openMicrophone, openPlayer, type Microphone, type Player } from '../media/sound_io';
import { wavOf } from '../media/wav';
import type { CallSettings } from '../types';
import { base64Of } from '../util';
import { notify } from '../ui/toast';
import type { CallPhase, Caption } from './call';
import { callSettings } from './settings';
import { mediaBlob } from './store';
import { Transcriber } from './transcriber';

export const OWN_VOICE = 'voice-clip';  // the user's own voice in the media store
const RECENT_SECONDS = 60;              // of what the microphone heard, for the captions
const LEAD_SECONDS = 0.3;               // before the moment at which speech was heard to begin
const SAMPLES_PER_MS = 24;              // of the server's sound

interface CallOptions {
  video: boolean;
  onEnd: (call: Call) => void;
}

/** The answer that is being made or played. */
interface Answer {
  item: string;
  turnEnded: number;  // performance.now() when the end of the user's turn was known
  pushed: number;     // samples that went to the player
  made: boolean;      // nothing more comes
}

export class Call {
  readonly phase = signal<CallPhase>('connecting');
  readonly captions = signal<Caption[]>([]);
  readonly muted = signal(false);
  readonly camera = signal<Camera | null>(null);
  readonly level = signal(0);  // of the microphone, 0 to 1
  readonly started = Date.now();

  private readonly settings: CallSettings = callSettings.value;
  private readonly transcriber: Transcriber;
  private session?: RealtimeSession;
  private microphone?: Microphone;
  private player?: Player;
  private heard = new Recent(0);
  private answer?: Answer;
  private cutAfter?: { item: string; ms: number };  // to be told when the server has ended that answer
  private turnEnded = 0;
  private speechBegan = 0;
  private ready = false;
  private over = false;
  private wakeLock?: { release(): Promise<void> };

  constructor(readonly model: string, private readonly options: CallOptions) {
    this.transcriber = new Transcriber(model, this.settings.language);
  }

  /** Throws Error with a sentence for the user. */
  async start(): Promise<void> {
    try {
      this.microphone = await openMicrophone((samples) => this.hear(samples));
    } catch {
      throw new Error(t('microphoneFailed'));
    }
    this.heard = new Recent(RECENT_SECONDS * this.microphone.rate);
    this.player = await openPlayer((samples) => this.played(samples));
    if (this.options.video) await this.showCamera();
    if (this.over) return this.release();
    this.session = new RealtimeSession(this.model, {
      onEvent: (event) => this.take(event),
      onClose: (reason) => this.closed(reason),
    });
    navigator.wakeLock?.request('screen').then((lock) => (this.wakeLock = lock), () => {});
  }

  // ---- what the user does ----

  mute(): void {
    this.muted.value = !this.muted.value;
    this.microphone?.mute(this.muted.value);
  }

  async toggleCamera(): Promise<void> {
    if (!this.camera.value) return this.showCamera();
    this.camera.value.close();
    this.camera.value = null;
  }

  async switchCamera(): Promise<void> {
    const next = this.camera.value && (await nextCamera(this.camera.value.stream));
    if (!next || !this.camera.value) return notify(t('noOtherCamera'));
    this.camera.value.close();
    await this.showCamera(next);
  }

  /** Silences the answer; it goes no further. */
  interrupt(): void {
    const answer = this.answer;
    if (!answer) return;
    if (answer.pushed > 0) {
      this.cut(answer.item, this.player!.played / SAMPLES_PER_MS);
    } else if (!answer.made) {
      this.send({ type: 'response.cancel' });
    }
    this.silence();
    this.phase.value = 'listening';
  }

  hangUp(): void {
    if (this.over) return;
    this.over = true;
    this.release();
    this.options.onEnd(this);
  }

  // ---- sound and pictures to the server ----

  private hear(samples: Int16Array): void {
    if (!this.ready || this.over) return;
    // Where talking is not to interrupt, the loudspeaker must not be heard either.
    if (!this.settings.interrupts && this.phase.value === 'speaking') samples.fill(0);
    let sum = 0;
    for (const sample of samples) sum += (sample / 0x8000) ** 2;
    this.level.value = Math.min(1, 4 * Math.sqrt(sum / samples.length));
    this.heard.push(samples);
    this.send({ type: 'input_audio_buffer.append', audio: toBase64(samples) });
  }

  private async showCamera(device?: string): Promise<void> {
    try {
      this.camera.value = await openCamera(device, (image) => {
        if (this.ready && this.session!.keepsUp) this.send({ type: 'input_video_frame.append', image });
      });
    } catch {
      this.camera.value = null;
      notify(t('cameraFailed'));
    }
    if (this.over) this.camera.value?.close();
  }

  private send(event: { type: string; [field: string]: unknown }): void {
    this.session?.send(event);
  }

  /** The first event: everything that begins the conversation. */
  private async configure(): Promise<void> {
    const { voice, language, instructions, interrupts, closely, pauseMs } = this.settings;
    const clip = voice === 'own' ? await mediaBlob(OWN_VOICE) : undefined;
    const turns: Record<string, unknown> = { type: 'server_vad', interrupt_response: interrupts };
    if (pauseMs) turns.silence_duration_ms = pauseMs;
    this.send({
      type: 'session.update',
      session: {
        type: 'realtime', language, hd: closely, mode: this.options.video ? 'omni' : 'assistant',
        ...(instructions.trim() ? { instructions } : {}),
        ...(clip ? { voice_clip: await base64Of(clip) } : {}),
        audio: {
          input: { format: { type: 'audio/pcm', rate: this.microphone!.rate }, turn_detection: turns },
          output: { voice: voice === 'own' ? 'default' : voice },
        },
      },
    });
  }

  // ---- what the server says ----

  private take(event: ServerEvent): void {
    switch (event.type) {
      case 'session.created': this.configure().catch(notify); break;
      case 'session.updated': this.begin(); break;
      case 'input_audio_buffer.speech_started': this.userBegins(event); break;
      case 'input_audio_buffer.speech_stopped': this.userEnds(event); break;
      case 'response.created': this.answerBegins(); break;
      case 'conversation.item.added': if (event.item?.role === 'assistant') this.answerIs(event.item.id); break;
      case 'response.output_audio_transcript.delta':
      case 'response.output_text.delta': this.addText(event); break;
      case 'response.output_audio.delta': this.addSound(event); break;
      case 'response.done': this.answerEnds(event.response!.status); break;
      case 'error': this.fail(event.error!); break;
    }
  }

  private begin(): void {
    this.ready = true;
    this.phase.value = 'listening';
  }

  private fail(error: { message: string; code: string | null }): void {
    // A cut that comes too late: the conversation has gone on.
    if (error.code === 'item_not_found' || error.code === 'response_cancel_not_active') return;
    notify(error.message);
    if (!this.ready) this.hangUp();
  }

  private userBegins(event: ServerEvent): void {
    const answer = this.answer;
    if (answer && answer.pushed > 0) {
      const ms = this.player!.played / SAMPLES_PER_MS;
      if (answer.made) this.cut(answer.item, ms);
      else this.cutAfter = { item: answer.item, ms };
    }
    this.silence();
    this.speechBegan = event.audio_start_ms ?? 0;
    this.addCaption({ id: event.item_id!, role: 'user' });
    this.phase.value = 'hearing';
  }

  private userEnds(event: ServerEvent): void {
    this.turnEnded = performance.now();
    this.phase.value = 'thinking';
    const id = event.item_id!;
    if (!this.settings.writesDown) return this.changeCaption(id, { open: false });
    const { rate } = this.microphone!;
    const place = (seconds: number) => Math.round(seconds * rate);
    const samples = this.heard.slice(place(this.speechBegan / 1000 - LEAD_SECONDS), place(event.audio_end_ms! / 1000));
    this.transcriber.add(wavOf(samples, rate), (text) => this.changeCaption(id, { text, open: false }));
  }

  private answerBegins(): void {
    this.transcriber.hold(true);
    this.player!.clear();
    this.answer = { item: '', turnEnded: this.turnEnded, pushed: 0, made: false };
    this.phase.value = 'thinking';
  }

  private answerIs(item: string): void {
    if (!this.answer || this.answer.item) return;
    this.answer.item = item;
    this.addCaption({ id: item, role: 'assistant' });
  }

  private addText({ item_id, delta }: ServerEvent): void {
    const caption = this.captions.value.find(({ id }) => id === item_id);
    if (!caption || caption.cut) return;
    const firstTextMs = caption.firstTextMs ?? performance.now() - (this.answer?.turnEnded ?? 0);
    this.changeCaption(caption.id, { text: caption.text + delta, firstTextMs });
  }

  private addSound({ item_id, delta }: ServerEvent): void {
    if (this.answer?.item !== item_id) return;  // was interrupted
    const samples = fromBase64(delta!);
    this.answer!.pushed += samples.length;
    this.player!.push(samples);
  }

  private answerEnds(status: string): void {
    this.transcriber.hold(false);
    if (this.cutAfter) this.cut(this.cutAfter.item, this.cutAfter.ms);
    this.cutAfter = undefined;
    const answer = this.answer;
    if (!answer) return;  // was interrupted
    answer.made = true;
    this.player!.end();
    this.changeCaption(answer.item, { open: false, cut: status === 'cancelled' || undefined });
    if (answer.pushed === 0 || status === 'cancelled') this.silence();
    if (!this.answer && this.phase.value !== 'hearing') this.phase.value = 'listening';
  }

  // ---- the loudspeaker ----

  private played(samples: number): void {
    const answer = this.answer;
    if (!answer || samples === 0) return;
    if (this.phase.value === 'thinking') this.phase.value = 'speaking';
    const caption = this.captions.value.find(({ id }) => id === answer.item);
    if (caption && caption.firstSoundMs === undefined) {
      this.changeCaption(answer.item, { firstSoundMs: performance.now() - answer.turnEnded });
    }
    if (!answer.made || samples < answer.pushed) return;
    this.answer = undefined;
    if (this.phase.value === 'speaking') this.phase.value = 'listening';
  }

  /** Nothing more of the present answer is heard. */
  private silence(): void {
    this.player!.clear();
    if (this.answer && (!this.answer.made || this.answer.pushed > 0)) {
      this.changeCaption(this.answer.item, { open: false, cut: true });
    }
    this.answer = undefined;
  }

  private cut(item: string, ms: number): void {
    const audio_end_ms = Math.max(0, Math.round(ms));
    this.send({ type: 'conversation.item.truncate', item_id: item, content_index: 0, audio_end_ms });
  }

  // ---- captions ----

  private addCaption(caption: Pick<Caption, 'id' | 'role'>): void {
    this.captions.value = [...this.captions.value, { ...caption, text: '', at: Date.now(), open: true }];
  }

  private changeCaption(id: string, change: Partial<Caption>): void {
    this.captions.value = this.captions.value.map((one) => (one.id === id ? { ...one, ...change } : one));
  }

  // ---- the end ----

  /** By the server, or by the network. */
  private closed(reason: string): void {
    if (this.over) return;
    notify(this.ready ? t('callEnded', { reason: reason || t('noReason') }) : t('callRefused'));
    this.hangUp();
  }

  private release(): void {
    this.ready = false;
    this.transcriber.close();
    this.session?.close();
    this.microphone?.close();
    this.player?.close();
    this.camera.value?.close();
    this.wakeLock?.release().catch(() => {});
  }
}
