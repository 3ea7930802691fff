import { language } from '../state/settings';
import { en, type Words } from './en';
import { zh } from './zh';

const WORDS = { en, zh };

/** The text in the user's language; {name} stands for a value. */
export function t(key: keyof Words, values: Record<string, string | number> = {}): string {
  return WORDS[language.value][key].replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}
