// Requests to this server, with the key that the user gave.
import { signal } from '@preact/signals';

const KEY_NAME = 'minicpm.key';

export const needsKey = signal(false);

/** An answer that is no success, in the server's words. */
export class ServerError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

export function setKey(key: string): void {
  if (key) sessionStorage.setItem(KEY_NAME, key);
  else sessionStorage.removeItem(KEY_NAME);
  needsKey.value = false;
}

/** Nothing where the server asked for none. */
export function currentKey(): string | null {
  return sessionStorage.getItem(KEY_NAME);
}

async function errorOf(response: Response): Promise<ServerError> {
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error.message ?? message;
  } catch {
    // no JSON: the status says it
  }
  return new ServerError(message, response.status);
}

/** Throws ServerError, and what fetch throws. */
export async function request(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const key = currentKey();
  if (key) headers.set('Authorization', `Bearer ${key}`);
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401) needsKey.value = true;
  throw await errorOf(response);
}

export async function getJson<T>(path: string): Promise<T> {
  return (await request(path)).json() as Promise<T>;
}
