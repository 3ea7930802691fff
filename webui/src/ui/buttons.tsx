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
