// Files that the user gives: what they are, and in a form that the server reads.
import { limits, modelFacts } from '../state/models';
import { holdMedia } from '../state/store';
import { t } from '../i18n';
import type { Attachment, MediaKind } from '../types';
import { bytesText, newId } from '../util';
import { toWav } from './wav';

const PICTURES = ['image/jpeg', 'image/png', 'image/webp', 'image/bmp', 'image/gif'];
const SOUNDS = ['audio/wav', 'audio/mpeg'];
const OTHER_NAMES: Record<string, string> =
  { 'audio/x-wav': 'audio/wav', 'audio/wave': 'audio/wav', 'audio/vnd.wave': 'audio/wav', 'audio/mp3': 'audio/mpeg' };

/** What may be chosen, for <input accept>. */
export function acceptedTypes(): string {
  const facts = modelFacts.value;
  const kinds = [];
  if (facts?.vision) kinds.push('image/*', 'video/*', 'application/pdf');
  if (facts?.audio) kinds.push('audio/*');
  return kinds.join(',');
}

/** Its pages are added as pictures (media/pdf.ts). */
export function isPdf(file: File): boolean {
  return file.type === 'application/pdf' || /\.pdf$/i.test(file.name);
}

function kindOf(file: Blob & { name?: string }): MediaKind | undefined {
  const kind = file.type.split('/')[0];
  if (kind === 'image' || kind === 'video' || kind === 'audio') return kind;
  return /\.(mkv|avi|mov|m4v)$/i.test(file.name ?? '') ? 'video' : undefined;
}

/** A picture of a kind that only the browser reads, as JPEG. */
async function toJpeg(blob: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement('canvas');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  return jpegOf(canvas);
}

export function jpegOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture'))), 'image/jpeg', 0.92);
  });
}

async function readable(file: Blob, kind: MediaKind): Promise<Blob> {
  const type = OTHER_NAMES[file.type] ?? file.type;
  if (kind === 'image' && !PICTURES.includes(type)) return toJpeg(file);
  if (kind === 'audio' && !SOUNDS.includes(type)) return toWav(file);
  if (kind === 'video') return file.type ? file : new Blob([file], { type: 'video/x-unknown' });
  return type === file.type ? file : new Blob([file], { type });
}

/** Keeps a file for a message. Throws Error with a sentence for the user. */
export async function attach(file: Blob & { name?: string }): Promise<Attachment> {
  const name = file.name || t('unnamed');
  const kind = kindOf(file);
  if (!kind) throw new Error(t('fileKind', { name }));
  const facts = modelFacts.value;
  const able = kind === 'audio' ? facts?.audio : facts?.vision;
  if (!able) throw new Error(t(kind === 'audio' ? 'cannotHear' : 'cannotSee', { model: facts?.title ?? '' }));
  let blob: Blob;
  try {
    blob = await readable(file, kind);
  } catch {
    throw new Error(t('fileBroken', { name }));
  }
  if (blob.size > limits.value.file_bytes) {
    throw new Error(t('fileLarge', { name, size: bytesText(blob.size), most: bytesText(limits.value.file_bytes) }));
  }
  const attachment: Attachment = { id: newId(), kind, name, type: blob.type, size: blob.size };
  holdMedia(attachment.id, blob);
  return attachment;
}
