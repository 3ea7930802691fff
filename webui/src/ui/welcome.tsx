// The page before anything was asked.
import { t } from '../i18n';
import { draftFiles, draftText } from '../state/draft';
import { modelFacts, problem } from '../state/models';
import { Icon, type IconName } from './icons';

interface Suggestion {
  icon: IconName;
  label: string;
  text: string;
  needsFile: boolean;
}

function suggestions(sees: boolean): Suggestion[] {
  const words: Suggestion[] = [
    { icon: 'edit', label: t('tryTextLabel'), text: t('tryText'), needsFile: false },
    { icon: 'bulb', label: t('tryText2Label'), text: t('tryText2'), needsFile: false },
  ];
  if (!sees) return words;
  return [
    { icon: 'search', label: t('try1Label'), text: t('try1'), needsFile: true },
    { icon: 'camera', label: t('try2Label'), text: t('try2'), needsFile: true },
    { icon: 'copy', label: t('try3Label'), text: t('try3'), needsFile: true },
    { icon: 'film', label: t('try4Label'), text: t('try4'), needsFile: true },
  ];
}

function use(suggestion: Suggestion): void {
  draftText.value = suggestion.text;
  document.getElementById('message')?.focus();
  if (suggestion.needsFile) document.getElementById('files')?.click();
}

export function Welcome() {
  const facts = modelFacts.value;
  const intro = facts?.audio ? t('welcomeHears') : facts?.vision ? t('welcomeSees') : t('welcomeText');
  return (
    <div class="welcome">
      <h2>{t('welcome')}</h2>
      {problem.value
        ? <p class="error" role="alert">{t('noServer', { text: problem.value })}</p>
        : <p>{facts && intro}</p>}
      {facts && draftFiles.value.length === 0 && (
        <ul>
          {suggestions(facts.vision).map((suggestion) => (
            <li key={suggestion.label}>
              <button type="button" onClick={() => use(suggestion)}>
                <Icon name={suggestion.icon} />{suggestion.label}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
