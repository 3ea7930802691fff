// The boxes of an answer, drawn on the picture that was asked about.
import { boxesOf, type NamedBox } from '../markdown/rules';
import { t } from '../i18n';
import type { Attachment } from '../types';
import { useMediaUrl } from './attachments';

const COLOURS = 6;

/** Thousandths of the picture as parts of a hundred. */
function place([x1, y1, x2, y2]: NamedBox['corners']) {
  return { left: `${x1 / 10}%`, top: `${y1 / 10}%`, width: `${(x2 - x1) / 10}%`, height: `${(y2 - y1) / 10}%` };
}

export function Boxes({ text, picture }: { text: string; picture: Attachment }) {
  const url = useMediaUrl(picture.id);
  const boxes = boxesOf(text);
  if (boxes.length === 0 || !url) return null;
  const names = [...new Set(boxes.map((box) => box.name))];
  return (
    <figure class="boxes" aria-label={t('boxesOn', { n: boxes.length })}>
      <img src={url} alt={picture.name} />
      {boxes.map(({ name, corners }, i) => (
        <span key={i} class={`mark colour-${names.indexOf(name) % COLOURS}`} style={place(corners)}>
          <b>{name || i + 1}</b>
        </span>
      ))}
    </figure>
  );
}
