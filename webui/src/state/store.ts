// Conversations and their files in this browser (IndexedDB). Where it gives no storage, they last as long as the page.
import type { Chat } from '../types';

const CHATS = 'chats';
const MEDIA = 'media';

let opened: Promise<IDBDatabase | null> | undefined;
const held = new Map<string, Blob>();  // files that were used since the page was opened
const urls = new Map<string, string>();

function open(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    const request = indexedDB.open('minicpm', 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(CHATS, { keyPath: 'id' });
      request.result.createObjectStore(MEDIA);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opened;
}

async function run<T>(store: string, mode: IDBTransactionMode,
                      ask: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = ask(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export async function loadChats(): Promise<Chat[]> {
  return (await run<Chat[]>(CHATS, 'readonly', (store) => store.getAll())) ?? [];
}

export async function saveChat(chat: Chat): Promise<void> {
  await run(CHATS, 'readwrite', (store) => store.put(chat));
}

export async function saveMedia(id: string, blob: Blob): Promise<void> {
  held.set(id, blob);
  await run(MEDIA, 'readwrite', (store) => store.put(blob, id));
}

export async function mediaBlob(id: string): Promise<Blob | undefined> {
  const blob = held.get(id) ?? (await run<Blob | undefined>(MEDIA, 'readonly', (store) => store.get(id)));
  if (blob) held.set(id, blob);
  return blob;
}

/** A URL of a file for <img>, <video> and <audio>. */
export async function mediaUrl(id: string): Promise<string | undefined> {
  const blob = await mediaBlob(id);
  if (blob && !urls.has(id)) urls.set(id, URL.createObjectURL(blob));
  return urls.get(id);
}

export async function dropMedia(id: string): Promise<void> {
  const url = urls.get(id);
  if (url) URL.revokeObjectURL(url);
  urls.delete(id);
  held.delete(id);
  await run(MEDIA, 'readwrite', (store) => store.delete(id));
}

/** The conversation and those of its files that no other conversation has. */
export async function dropChat(chat: Chat, others: Chat[]): Promise<void> {
  const kept = new Set(others.flatMap(mediaOf));
  for (const id of mediaOf(chat)) {
    if (!kept.has(id)) await dropMedia(id);
  }
  await run(CHATS, 'readwrite', (store) => store.delete(chat.id));
}

function mediaOf(chat: Chat): string[] {
  const holders = [...Object.values(chat.messages), ...chat.examples];
  return holders.flatMap((holder) => (holder.attachments ?? []).map((attachment) => attachment.id));
}
