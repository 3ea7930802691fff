// Conversations and their files in this browser (IndexedDB). Where it gives no storage, they last as long as the page.
import type { Chat } from '../types';

const CHATS = 'chats';
const MEDIA = 'media';

let opened: Promise<IDBDatabase | null> | undefined;
const held = new Map<string, Blob>();  // files that were used since the page was opened
const unsaved = new Set<string>();     // of them those that no kept conversation has yet
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

type Stores = (name: string) => IDBObjectStore;

/** One transaction: all of it or nothing. The result is that of the last request. */
async function transact<T>(mode: IDBTransactionMode, work: (stores: Stores) => IDBRequest<T>): Promise<T | undefined> {
  const database = await open();
  if (!database) return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([CHATS, MEDIA], mode);
    const request = work((name) => transaction.objectStore(name));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

function mediaOf(chat: Chat): string[] {
  const holders = [...Object.values(chat.messages), ...chat.examples];
  return holders.flatMap((holder) => (holder.attachments ?? []).map((attachment) => attachment.id));
}

export async function loadChats(): Promise<Chat[]> {
  return (await transact<Chat[]>('readonly', (stores) => stores(CHATS).getAll())) ?? [];
}

/** Writes a conversation down, with its files that are new. */
export async function saveChat(chat: Chat): Promise<void> {
  const added = mediaOf(chat).filter((id) => unsaved.has(id));
  await transact('readwrite', (stores) => {
    for (const id of added) stores(MEDIA).put(held.get(id), id);
    return stores(CHATS).put(chat);
  });
  for (const id of added) unsaved.delete(id);
}

/** A file of a message that is being written. */
export function holdMedia(id: string, blob: Blob): void {
  held.set(id, blob);
  unsaved.add(id);
}

/** A file that belongs to no conversation, such as a voice. */
export async function keepFile(id: string, blob: Blob): Promise<void> {
  held.set(id, blob);
  await transact('readwrite', (stores) => stores(MEDIA).put(blob, id));
}

export async function dropFile(id: string): Promise<void> {
  held.delete(id);
  await transact('readwrite', (stores) => stores(MEDIA).delete(id));
}

export async function mediaBlob(id: string): Promise<Blob | undefined> {
  const blob = held.get(id) ?? (await transact<Blob | undefined>('readonly', (stores) => stores(MEDIA).get(id)));
  if (blob) held.set(id, blob);
  return blob;
}

/** A URL of a file for <img>, <video> and <audio>. */
export async function mediaUrl(id: string): Promise<string | undefined> {
  const blob = await mediaBlob(id);
  if (blob && !urls.has(id)) urls.set(id, URL.createObjectURL(blob));
  return urls.get(id);
}

/** The same, for a file that was shown before. */
export function knownUrl(id: string): string | undefined {
  return urls.get(id);
}

/** The conversation and those of its files that no other conversation has. */
export async function dropChat(chat: Chat, others: Chat[]): Promise<void> {
  const kept = new Set(others.flatMap(mediaOf));
  const dropped = mediaOf(chat).filter((id) => !kept.has(id));
  for (const id of dropped) {
    const url = urls.get(id);
    if (url) URL.revokeObjectURL(url);
    urls.delete(id);
    held.delete(id);
  }
  await transact('readwrite', (stores) => {
    for (const id of dropped) stores(MEDIA).delete(id);
    return stores(CHATS).delete(chat.id);
  });
}
