import { useState } from 'preact/hooks';
import { t } from '../i18n';
import { copyText } from '../util';
import { Icon, type IconName } from './icons';

interface IconButtonProps {
  icon: IconName;
  label: string;
  onClick: () => void;
  disabled?: boolean;
  class?: string;
  pressed?: boolean;
}

export function IconButton({ icon, label, onClick, disabled, pressed, ...rest }: IconButtonProps) {
  return (
    <button type="button" class={`icon-button ${rest.class ?? ''}`} aria-label={label} title={label}
            aria-pressed={pressed} disabled={disabled} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

interface ChipProps {
  icon: IconName;
  label: string;
  hint?: string;
  pressed?: boolean;
  onClick: () => void;
}

/** A button with its name, which a phone has no room for. */
export function Chip({ icon, label, hint, pressed, onClick }: ChipProps) {
  return (
    <button type="button" class="chip" aria-label={label} title={hint ?? label} aria-pressed={pressed}
            onClick={onClick}>
      <Icon name={icon} /><span>{label}</span>
    </button>
  );
}

/** `text` is asked for when the button is pressed. */
export function CopyButton({ text }: { text: () => string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(text());
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return <IconButton icon={done ? 'check' : 'copy'} label={done ? t('copied') : t('copy')} onClick={copy} />;
}
