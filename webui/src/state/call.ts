// A call with the model: what the page shows of it. One at a time.
import { computed, signal } from '@preact/signals';
import { t } from '../i18n';
import { canCapture } from '../media/recorder';
import type { Message } from '../types';
import { newId } from '../util';
import { Call } from './call_session';
import { openChat, putChat, startChat, current } from './chats';
import { model, modelFacts } from './models';

export type CallPhase = 'connecting' | 'listening' | 'hearing' | 'thinking' | 'speaking';

/** What one side said. */
export interface Caption {
  id: string;
  role: Message['role'];
  text: string;
  at: number;            // milliseconds since 1970
  open: boolean;         // more may come
  cut?: boolean;         // interrupted
  firstTextMs?: number;  // from the end of the user's turn
  firstSoundMs?: number; // likewise
}

export const callOpen = signal(false);
export const call = signal<Call | null>(null);

/** Whether the chosen model can be called at all. */
export const canCall = computed(() => (modelFacts.value?.audio && (modelFacts.value.voices?.length ?? 0) > 0) ?? false);

/** Begins a call; throws Error with a sentence for the user. */
export async function startCall(video: boolean): Promise<void> {
  if (!canCapture()) throw new Error(t('needsHttps'));
  const begun = new Call(model.value, { video, onEnd: ended });
  call.value = begun;
  try {
    await begun.start();
  } catch (error) {
    begun.hangUp();
    throw error;
  }
}

function ended(finished: Call): void {
  if (call.value !== finished) return;
  call.value = null;
  callOpen.value = false;
  keep(finished);
}

/** What was said becomes a conversation. */
function keep({ captions, model: name }: Call): void {
  if (!captions.value.some(({ role, text }) => role === 'assistant' && text)) return;
  startChat();
  const chat = current.value;
  const messages: Record<string, Message> = {};
  let parent: string | null = null;
  for (const caption of captions.value) {
    const message: Message = {
      id: newId(), parent, role: caption.role, created: caption.at,
      text: caption.text || (caption.role === 'user' ? t('spoken') : ''),
    };
    if (caption.role === 'assistant') Object.assign(message, { model: name, finish: caption.cut ? 'stopped' : 'stop' });
    messages[message.id] = message;
    parent = message.id;
  }
  const title = captions.value.find(({ text }) => text)?.text.split('\n')[0]!.slice(0, 60);
  putChat({ ...chat, title: `${t('call')}: ${title}`, messages, leaf: parent, updated: Date.now() });
  openChat(chat.id);
}
