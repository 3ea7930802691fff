// A conversation as a file: the version that is shown as Markdown, or all of it as JSON.
import { t } from '../i18n';
import type { Chat, Message } from '../types';
import { download } from '../util';
import { pathOf } from './chats';

function fileName(chat: Chat, ending: string): string {
  const name = chat.title.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 40);
  return `${name || 'conversation'}.${ending}`;
}

function messageText(message: Message): string {
  const files = (message.attachments ?? []).map((attachment) => `*[${attachment.kind}: ${attachment.name}]*\n\n`);
  const reasoning = message.reasoning ? `> ${message.reasoning.trim().replace(/\n/g, '\n> ')}\n\n` : '';
  const name = message.role === 'user' ? t('you') : message.model || t('answer');
  return `## ${name}\n\n${files.join('')}${reasoning}${message.text}\n`;
}

export function exportMarkdown(chat: Chat): void {
  const system = chat.system ? `> ${chat.system.trim().replace(/\n/g, '\n> ')}\n` : '';
  const parts = [`# ${chat.title}\n`, system, ...pathOf(chat).map(messageText)].filter((part) => part !== '');
  download(fileName(chat, 'md'), parts.join('\n'), 'text/markdown');
}

/** Every version; of files their names, not their bytes. */
export function exportJson(chat: Chat): void {
  download(fileName(chat, 'json'), `${JSON.stringify(chat, null, 2)}\n`, 'application/json');
}
