// A conversation in the words of the server.
import { mediaBlob } from '../state/store';
import type { Attachment, Chat, Message, Sampling } from '../types';
import { base64Of } from '../util';

export interface PromptOptions {
  model: string;
  thinking: boolean;
  sampling: Sampling;
}

async function partOf(attachment: Attachment): Promise<object> {
  const blob = await mediaBlob(attachment.id);
  if (!blob) throw new Error(`${attachment.name}: the file is no longer in this browser`);
  const data = await base64Of(blob);
  if (attachment.kind === 'audio') {
    return { type: 'input_audio', input_audio: { data, format: attachment.type === 'audio/mpeg' ? 'mp3' : 'wav' } };
  }
  const url = `data:${attachment.type};base64,${data}`;
  if (attachment.kind === 'image') return { type: 'image_url', image_url: { url } };
  return { type: 'video_url', video_url: { url, ...attachment.video } };
}

/** Files first, then the text: the order that the models were trained on. */
async function contentOf(text: string, attachments: Attachment[] = []): Promise<string | object[]> {
  if (attachments.length === 0) return text;
  const parts = await Promise.all(attachments.map(partOf));
  return text ? [...parts, { type: 'text', text }] : parts;
}

/** The body of a request that answers the last of `path`. */
export async function promptOf(chat: Chat, path: Message[], options: PromptOptions): Promise<object> {
  const messages: object[] = [];
  if (chat.system.trim()) messages.push({ role: 'system', content: chat.system });
  for (const example of chat.examples) {
    messages.push({ role: 'user', content: await contentOf(example.question, example.attachments) });
    messages.push({ role: 'assistant', content: example.answer });
  }
  for (const message of path) {
    messages.push({ role: message.role, content: await contentOf(message.text, message.attachments) });
  }
  const { model, thinking, sampling } = options;
  return { model, messages, ...sampling, ...(thinking ? { enable_thinking: true } : {}) };
}
