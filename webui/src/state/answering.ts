// Asking the model: one answer at a time in each conversation.
import { signal } from '@preact/signals';
import { streamChat, type Piece } from '../api/chat';
import { promptOf } from '../api/prompt';
import type { Attachment, Chat, Message } from '../types';
import { newId } from '../util';
import { addMessage, chatById, current, pathOf, putMessage } from './chats';
import { isLoaded, loadModels, model, modelFacts } from './models';
import { sampling, thinking } from './settings';

const SHOW_EVERY_MS = 40;

/** The conversations in which an answer is being written. */
export const running = signal<Record<string, AbortController>>({});

/** What was last finished, for screen readers. */
export const announced = signal('');

export function stop(chatId: string): void {
  running.value[chatId]?.abort();
}

/** Adds a user's message behind `parent` and answers it. */
export function ask(parent: string | null, text: string, attachments: Attachment[]): Promise<void> {
  const chat = current.value;
  const id = newId();
  addMessage(chat.id, { id, parent, role: 'user', text, attachments, created: Date.now() });
  return answer(chat.id, id);
}

/** Writes a (further) answer to a user's message. */
export async function answer(chatId: string, questionId: string): Promise<void> {
  const chat = chatById(chatId);
  if (!chat || running.value[chatId]) return;
  const message: Message =
    { id: newId(), parent: questionId, role: 'assistant', text: '', created: Date.now(), model: model.value };
  addMessage(chatId, message);
  const controller = new AbortController();
  running.value = { ...running.value, [chatId]: controller };
  const writer = new AnswerWriter(chatId, message);
  try {
    const body = await promptOf(chat, pathOf(chat, questionId), options());
    for await (const piece of streamChat(body, controller.signal)) writer.add(piece);
    writer.end();
  } catch (error) {
    writer.fail(error, controller.signal.aborted);
  }
  const { [chatId]: _, ...others } = running.value;
  running.value = others;
  if (!isLoaded.value) loadModels();  // the question has loaded it
  announced.value = chatById(chatId)?.messages[message.id]?.text ?? '';
}

function options() {
  const think = thinking.value && (modelFacts.value?.thinking ?? false);
  return { model: model.value, thinking: think, sampling: sampling.value };
}

/** Collects the pieces of an answer and shows them a few times a second. */
class AnswerWriter {
  private readonly start = performance.now();
  private first?: number;
  private firstText?: number;
  private timer?: ReturnType<typeof setTimeout>;

  constructor(private readonly chatId: string, private message: Message) {}

  add(piece: Piece): void {
    const now = performance.now();
    if (piece.text || piece.reasoning) this.first ??= now;
    if (piece.text) this.firstText ??= now;
    this.message = {
      ...this.message,
      text: this.message.text + (piece.text ?? ''),
      reasoning: piece.reasoning ? (this.message.reasoning ?? '') + piece.reasoning : this.message.reasoning,
      finish: piece.finish ?? this.message.finish,
      stats: this.stats(piece),
    };
    this.timer ??= setTimeout(() => this.show(false), SHOW_EVERY_MS);
  }

  end(): void {
    this.show(true);
  }

  fail(error: unknown, stopped: boolean): void {
    const text = error instanceof Error ? error.message : String(error);
    const stats = this.message.stats ?? this.stats({});
    this.message = stopped
      ? { ...this.message, stats, finish: 'stopped' }
      : { ...this.message, stats, finish: 'error', error: text };
    this.show(true);
  }

  private stats(piece: Piece) {
    const before = this.message.stats;
    const now = performance.now();
    return {
      firstTokenMs: (this.first ?? now) - this.start,
      totalMs: now - this.start,
      reasoningMs: this.message.reasoning ? (this.firstText ?? now) - (this.first ?? now) : undefined,
      promptTokens: piece.promptTokens ?? before?.promptTokens,
      completionTokens: piece.completionTokens ?? before?.completionTokens,
      imageTokens: piece.imageTokens ?? before?.imageTokens,
      imageMs: piece.imageMs ?? before?.imageMs,
    };
  }

  private show(keep: boolean): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    putMessage(this.chatId, this.message, keep);
  }
}

export function isRunning(chat: Chat): boolean {
  return running.value[chat.id] !== undefined;
}
