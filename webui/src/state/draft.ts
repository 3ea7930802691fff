// What is being written and not yet sent.
import { signal } from '@preact/signals';
import { attach, isPdf } from '../media/files';
import { t } from '../i18n';
import type { Attachment } from '../types';
import { notify } from '../ui/toast';
import { limits, modelFacts } from './models';

export const draftText = signal('');
export const draftFiles = signal<Attachment[]>([]);

/** PDF files that wait for a choice of pages; the first is shown. */
export const pdfFiles = signal<File[]>([]);

export async function addFiles(files: Iterable<File>): Promise<void> {
  for (const file of files) {
    if (isPdf(file) && modelFacts.value?.vision) {
      pdfFiles.value = [...pdfFiles.value, file];
      continue;
    }
    if (draftFiles.value.length >= limits.value.files) return notify(t('filesMany', { most: limits.value.files }));
    try {
      const attachment = await attach(file);
      draftFiles.value = [...draftFiles.value, attachment];
    } catch (error) {
      notify(error);
    }
  }
}

export function takeDraft(): { text: string; files: Attachment[] } {
  const draft = { text: draftText.value.trim(), files: draftFiles.value };
  draftText.value = '';
  draftFiles.value = [];
  return draft;
}
