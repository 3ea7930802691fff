// What the user chose, kept in this browser.
import { effect, signal, type Signal } from '@preact/signals';
import type { CallSettings, Sampling } from '../types';

/** A signal whose value outlives the page. */
function kept<T>(name: string, initial: T): Signal<T> {
  const key = `minicpm.${name}`;
  let value = initial;
  try {
    const text = localStorage.getItem(key);
    if (text !== null) value = JSON.parse(text);
  } catch {
    // no storage, or a text that is none of ours: the initial value stands
  }
  const result = signal(value);
  effect(() => {
    const text = JSON.stringify(result.value);
    try {
      localStorage.setItem(key, text);
    } catch {
      // no storage: the choice lasts as long as the page
    }
  });
  return result;
}

export type Theme = 'auto' | 'light' | 'dark';
export type Language = 'en' | 'zh';

export const theme = kept<Theme>('theme', 'auto');
export const language = kept<Language>('language', navigator.language.startsWith('zh') ? 'zh' : 'en');
export const modelName = kept<string>('model', '');
export const thinking = kept<boolean>('thinking', false);
export const sampling = kept<Sampling>('sampling', {});
export const callSettings = kept<CallSettings>('call', {
  voice: 'default', language: language.value, instructions: '', interrupts: true, writesDown: true, closely: false,
});
export const sidebarOpen = kept<boolean>('sidebar', true);

effect(() => {
  const root = document.documentElement;
  if (theme.value === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  root.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});
