import { useId, useLayoutEffect, useRef } from 'preact/hooks';

interface NumberFieldProps {
  label: string;
  hint?: string;
  value?: number;
  placeholder?: number | string;
  min?: number;
  max?: number;
  step?: number | 'any';
  onChange: (value: number | undefined) => void;
}

/** A number, or nothing for the default, which the placeholder shows. A number out of range is not taken. */
export function NumberField({ label, hint, value, placeholder, min, max, step = 1, onChange }: NumberFieldProps) {
  const id = useId();
  const place = useRef<HTMLInputElement>(null);
  // Not <input value>: it would rewrite "0." to "0" while one types "0.5".
  useLayoutEffect(() => {
    const input = place.current!;
    const shown = input.value === '' ? undefined : Number(input.value);
    if (shown !== value) input.value = String(value ?? '');
  }, [value]);
  const read = (input: HTMLInputElement) => {
    if (input.value === '' && !input.validity.badInput) return onChange(undefined);
    if (input.checkValidity()) onChange(Number(input.value));
  };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input ref={place} id={id} type="number" inputMode="decimal" placeholder={String(placeholder ?? '')}
             min={min} max={max} step={step} aria-describedby={hint ? `${id}-hint` : undefined}
             onInput={(event) => read(event.currentTarget)} />
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  choices: [T, string][];
  onChange: (value: T) => void;
}

export function Choice<T extends string>({ label, value, choices, onChange }: ChoiceProps<T>) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      {choices.map(([choice, text]) => (
        <label key={choice}>
          <input type="radio" name={name} checked={choice === value} onChange={() => onChange(choice)} />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface CheckProps {
  label: string;
  hint?: string;
  value: boolean;
  onChange: (value: boolean) => void;
}

export function Check({ label, hint, value, onChange }: CheckProps) {
  const id = useId();
  return (
    <div class="check">
      <input id={id} type="checkbox" checked={value} aria-describedby={hint ? `${id}-hint` : undefined}
             onChange={(event) => onChange(event.currentTarget.checked)} />
      <label for={id}>{label}</label>
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </div>
  );
}
