// LaTeX formulas as MathML, which browsers draw themselves.
import temml from 'temml';
import { useLayoutEffect, useRef } from 'preact/hooks';

const LONGEST = 10_000;  // characters

export function MathView({ text, block }: { text: string; block: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    const element = place.current!;
    if (text.length > LONGEST) {
      element.textContent = text;
      return;
    }
    try {
      temml.render(text, element, { displayMode: block, throwOnError: true, trust: false, maxExpand: 500 });
    } catch {
      element.textContent = text;  // no formula: shown as it was written
    }
  }, [text, block]);
  return <span class={block ? 'math block' : 'math'} ref={place} />;
}
