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

interface Row {
  name: keyof Sampling & keyof Words;
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
  { name: 'max_tokens', min: 1, max: MOST },
  { name: 'min_tokens', min: 0, max: MOST },
  { name: 'seed', min: 0, max: Number.MAX_SAFE_INTEGER },
  { name: 'num_beams', min: 1, max: 8, hint: 'num_beamsHint' },
  { name: 'max_slices', min: 1, max: 1000, hint: 'max_slicesHint' },
];

function placeholderOf(name: keyof Sampling): number | string | undefined {
  const facts = modelFacts.value;
  if (name === 'seed') return t('random');
  if (!facts || name === 'max_slices') return facts?.max_slices;
  const beams = (sampling.value.num_beams ?? 1) > 1;
  const kind = beams ? 'beams' : thinking.value && facts.thinking ? 'thinking' : 'sampling';
  if (name === 'num_beams') return 1;
  return facts.defaults[kind][name];
}

function AnswerSettings() {
  const set = (name: keyof Sampling, value: number | undefined) => {
    const { [name]: _, ...others } = sampling.value;
    sampling.value = value === undefined ? others : { ...others, [name]: value };
  };
  return (
    <>
      <p class="hint">{t('defaultsHint')}</p>
      <div class="fields">
        {ROWS.map(({ name, hint, ...range }) => (
          <NumberField key={name} {...range} label={t(name)} hint={hint && t(hint)} value={sampling.value[name]}
                       placeholder={placeholderOf(name)} onChange={(value) => set(name, value)} />
        ))}
      </div>
      <footer><button type="button" onClick={() => (sampling.value = {})}>{t('reset')}</button></footer>
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
