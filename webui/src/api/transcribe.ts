// POST /v1/audio/transcriptions: what is said in a sound.
import { request } from './http';

export async function transcribe(model: string, language: string, wav: Blob): Promise<string> {
  const form = new FormData();
  form.set('model', model);
  form.set('language', language);
  form.set('file', wav, 'turn.wav');
  const response = await request('/v1/audio/transcriptions', { method: 'POST', body: form });
  return ((await response.json()) as { text: string }).text.trim();
}
