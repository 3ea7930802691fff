// The conversations: a tree of messages each, of which one path is shown.
import { computed, signal } from '@preact/signals';
import type { Chat, Message } from '../types';
import { newId } from '../util';
import { dropChat, loadChats, saveChat } from './store';

export const chats = signal<Chat[]>([]);  // newest first
const currentId = signal('');
export const storageFailed = signal(false);

function emptyChat(): Chat {
  const now = Date.now();
  return { id: newId(), title: '', created: now, updated: now, system: '', examples: [], messages: {}, leaf: null };
}

/** A conversation that has nothing yet is not kept. */
const draft = signal<Chat>(emptyChat());

export const current = computed(() => chats.value.find((chat) => chat.id === currentId.value) ?? draft.value);

export function pathOf(chat: Chat, leaf = chat.leaf): Message[] {
  const path: Message[] = [];
  for (let id = leaf; id !== null; ) {
    const message: Message | undefined = chat.messages[id];
    if (!message) break;
    path.unshift(message);
    id = message.parent;
  }
  return path;
}

/** The message and its versions, oldest first. */
export function versionsOf(chat: Chat, message: Message): Message[] {
  return Object.values(chat.messages)
    .filter((other) => other.parent === message.parent && other.role === message.role)
    .sort((a, b) => a.created - b.created);
}

export async function openStore(): Promise<void> {
  try {
    chats.value = (await loadChats()).map(ended).sort((a, b) => b.updated - a.updated);
  } catch {
    storageFailed.value = true;
  }
}

/** What was being written when the page was closed stays as far as it came. */
function ended(chat: Chat): Chat {
  const messages = Object.values(chat.messages).map((message): Message =>
    message.role === 'assistant' && !message.finish ? { ...message, finish: 'stopped' } : message);
  return { ...chat, messages: Object.fromEntries(messages.map((message) => [message.id, message])) };
}

export function startChat(): void {
  draft.value = emptyChat();
  currentId.value = '';
}

export function openChat(id: string): void {
  currentId.value = id;
}

export function chatById(id: string): Chat | undefined {
  return id === draft.value.id ? draft.value : chats.value.find((chat) => chat.id === id);
}

/** Replaces a conversation; `keep` also writes it down. */
export function putChat(chat: Chat, keep = true): void {
  const known = chats.value.some((other) => other.id === chat.id);
  if (!known && chat.leaf === null) {
    draft.value = chat;  // settings of a conversation that has not begun
    return;
  }
  if (known) {
    chats.value = chats.value.map((other) => (other.id === chat.id ? chat : other));
  } else {
    if (draft.value.id === chat.id) {
      currentId.value = chat.id;
      draft.value = emptyChat();
    }
    chats.value = [chat, ...chats.value];
  }
  if (keep) saveChat(chat).catch(() => (storageFailed.value = true));
}

export function putMessage(chatId: string, message: Message, keep = true): void {
  const chat = chatById(chatId);
  if (!chat) return;  // deleted meanwhile
  putChat({ ...chat, messages: { ...chat.messages, [message.id]: message } }, keep);
}

/** Adds a message and shows it. */
export function addMessage(chatId: string, message: Message): void {
  const chat = chatById(chatId);
  if (!chat) return;
  const title = chat.title || message.text.trim().split('\n')[0]!.slice(0, 60) || message.attachments?.[0]?.name || '';
  const messages = { ...chat.messages, [message.id]: message };
  putChat({ ...chat, title, messages, leaf: message.id, updated: Date.now() });
  chats.value = [...chats.value].sort((a, b) => b.updated - a.updated);
}

/** Shows a version, to the end of its newest continuation. */
export function showVersion(chatId: string, id: string): void {
  const chat = chatById(chatId);
  if (!chat) return;
  let leaf = id;
  for (;;) {
    const next = Object.values(chat.messages)
      .filter((message) => message.parent === leaf)
      .sort((a, b) => b.created - a.created)[0];
    if (!next) break;
    leaf = next.id;
  }
  putChat({ ...chat, leaf });
}

export function renameChat(id: string, title: string): void {
  const chat = chatById(id);
  if (chat && title.trim()) putChat({ ...chat, title: title.trim() });
}

export function deleteChat(id: string): void {
  const chat = chatById(id);
  if (!chat) return;
  chats.value = chats.value.filter((other) => other.id !== id);
  if (currentId.value === id) startChat();
  dropChat(chat, chats.value).catch(() => (storageFailed.value = true));
}
