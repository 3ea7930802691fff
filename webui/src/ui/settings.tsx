import { useState } from 'preact/hooks';
import { currentKey, needsKey, setKey } from '../api/http';
import { t } from '../i18n';
import type { Words } from '../i18n/en';
import { current, putChat } from '../state/chats';
import { modelFacts } from '../state/models';
import { language, sampling, theme, thinking } from '../state/settings';
import type { Sampling } from '../types';
import { Dialog } from './dialog';
import { Examples } from './examples';
import { Choice, NumberField } from './fields';

type Tab = 'conversation' | 'answers' | 'page';
const TABS: Tab[] = ['conversation', 'answers', 'page'];

export function SettingsDialog({ onClose }: { onClose: () => void }) {
  const [tab, setTab] = useState<Tab>('conversation');
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: TABS.length - 1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const next = TABS[(TABS.indexOf(tab) + step) % TABS.length]!;
    setTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <Dialog title={t('settings')} onClose={onClose} class="settings">
      <div role="tablist" aria-label={t('settings')} onKeyDown={onKeyDown}>
        {TABS.map((name) => (
          <button key={name} id={`tab-${name}`} type="button" role="tab" aria-selected={tab === name}
                  tabIndex={tab === name ? 0 : -1} aria-controls="tab-panel" onClick={() => setTab(name)}>
            {t(name)}
          </button>
        ))}
      </div>
      <div role="tabpanel" id="tab-panel" aria-labelledby={`tab-${tab}`}>
        {tab === 'conversation' && <ConversationSettings />}
        {tab === 'answers' && <AnswerSettings />}
        {tab === 'page' && <PageSettings />}
      </div>
    </Dialog>
  );
}

function ConversationSettings() {
  const chat = current.value;
  return (
    <>
      <div class="field">
        <label for="system">{t('system')}</label>
        <textarea id="system" rows={4} aria-describedby="system-hint" value={chat.system}
                  onInput={(event) => putChat({ ...chat, system: event.currentTarget.value })} />
        <small id="system-hint">{t('systemHint')}</small>
      </div>
      <Examples />
    </>
  );
}

type NumberName = Exclude<keyof Sampling, 'stop'>;

interface Row {
  name: NumberName & keyof Words;
  min: number;
  max: number;
  step?: 'any';
  hint?: keyof Words;
}

const MOST = 2_147_483_647;
const ROWS: Row[] = [
  { name: 'temperature', min: 0, max: 100, step: 'any', hint: 'temperatureHint' },
  { name: 'top_p', min: 0, max: 1, step: 'any' },
  { name: 'top_k', min: 0, max: MOST },
  { name: 'min_p', min: 0, max: 1, step: 'any' },
  { name: 'repetition_penalty', min: 0.01, max: 100, step: 'any' },
  { name: 'presence_penalty', min: -2, max: 2, step: 'any', hint: 'presence_penaltyHint' },
  { name: 'frequency_penalty', min: -2, max: 2, step: 'any', hint: 'frequency_penaltyHint' },
  { name: 'max_tokens', min: 1, max: MOST },
  { name: 'min_tokens', min: 0, max: MOST },
  { name: 'seed', min: 0, max: Number.MAX_SAFE_INTEGER },
  { name: 'num_beams', min: 1, max: 8 },
  { name: 'max_slices', min: 1, max: 1000, hint: 'max_slicesHint' },
];

function placeholderOf(name: NumberName): number | string | undefined {
  const facts = modelFacts.value;
  if (name === 'seed') return t('random');
  if (name === 'max_slices') return facts?.max_slices;
  if (!facts?.defaults) return undefined;
  const beams = (sampling.value.num_beams ?? 1) > 1;
  const kind = beams ? 'beams' : thinking.value && facts.thinking ? 'thinking' : 'sampling';
  if (name === 'num_beams') return 1;
  const none = name === 'presence_penalty' || name === 'frequency_penalty' ? 0 : undefined;
  return facts.defaults[kind][name] ?? none;
}

function hintOf({ name, hint }: Row): string | undefined {
  const beams = modelFacts.value?.defaults?.beams.num_beams;
  if (name === 'num_beams') return beams ? t('num_beamsOfficial', { n: beams }) : undefined;
  return hint && t(hint);
}

const MOST_STOPS = 16;  // of the server

/** Texts that end an answer, one a line; a line break within one is written \n. */
function StopField() {
  const shown = (texts: string[] = []) => texts.map((text) => text.replace(/\n/g, '\\n')).join('\n');
  const [text, setText] = useState(shown(sampling.value.stop));
  const read = (written: string) => {
    setText(written);
    const stop = written.split('\n').filter((line) => line !== '').slice(0, MOST_STOPS)
      .map((line) => line.replace(/\\n/g, '\n'));
    const { stop: _, ...others } = sampling.value;
    sampling.value = stop.length > 0 ? { ...others, stop } : others;
  };
  return (
    <div class="field">
      <label for="stop">{t('stopStrings')}</label>
      <textarea id="stop" rows={2} aria-describedby="stop-hint" value={text} spellcheck={false}
                onInput={(event) => read(event.currentTarget.value)} />
      <small id="stop-hint">{t('stopStringsHint', { most: MOST_STOPS })}</small>
    </div>
  );
}

function AnswerSettings() {
  const [resets, setResets] = useState(0);  // a new field of texts after each
  const set = (name: NumberName, value: number | undefined) => {
    const { [name]: _, ...others } = sampling.value;
    sampling.value = value === undefined ? others : { ...others, [name]: value };
  };
  return (
    <>
      <p class="hint">{t('defaultsHint')}</p>
      <div class="fields">
        {ROWS.map((row) => (
          <NumberField key={row.name} min={row.min} max={row.max} step={row.step} label={t(row.name)} hint={hintOf(row)}
                       value={sampling.value[row.name]} placeholder={placeholderOf(row.name)}
                       onChange={(value) => set(row.name, value)} />
        ))}
      </div>
      <StopField key={resets} />
      <footer>
        <button type="button" onClick={() => { sampling.value = {}; setResets(resets + 1); }}>{t('reset')}</button>
      </footer>
    </>
  );
}

function PageSettings() {
  return (
    <>
      <Choice label={t('appearance')} value={theme.value} onChange={(value) => (theme.value = value)}
              choices={[['auto', t('themeAuto')], ['light', t('themeLight')], ['dark', t('themeDark')]]} />
      <Choice label={t('language')} value={language.value} onChange={(value) => (language.value = value)}
              choices={[['en', 'English'], ['zh', '中文']]} />
      {currentKey() && (
        <div class="field">
          <span>{t('key')}</span>
          <button type="button" onClick={() => { setKey(''); needsKey.value = true; }}>{t('keyForget')}</button>
        </div>
      )}
      <div class="field"><span>{t('keys')}</span><small>{t('keysText')}</small></div>
    </>
  );
}
