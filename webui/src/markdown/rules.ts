// Markdown with formulas and boxes, as tokens. Nothing here makes HTML: the tokens become elements in view.tsx, so that
// a text cannot bring elements, scripts or addresses of its own.
import { Marked, type TokenizerAndRendererExtension, type Token } from 'marked';

export interface MathToken {
  type: 'math';
  raw: string;
  text: string;
  block: boolean;
}

/** <box>x1 y1 x2 y2</box>, in thousandths of the picture's width and height; <ref>name</ref> before it names it. */
export interface BoxToken {
  type: 'box';
  raw: string;
  corners: [number, number, number, number];
}

const INLINE_MATH = [/^\$\$([^$]+?)\$\$/, /^\$(?!\s)((?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)/, /^\\\(([\s\S]+?)\\\)/];
const BLOCK_MATH = [/^\$\$([\s\S]+?)\$\$[ \t]*(?:\n|$)/, /^\\\[([\s\S]+?)\\\][ \t]*(?:\n|$)/];
export const BOX = /<box>\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,]+(\d+)\s*<\/box>/;
const BOX_HERE = new RegExp(`^${BOX.source}`);

function match(rules: RegExp[], source: string): RegExpExecArray | undefined {
  for (const rule of rules) {
    const found = rule.exec(source);
    if (found) return found;
  }
  return undefined;
}

const inlineMath: TokenizerAndRendererExtension = {
  name: 'inlineMath',
  level: 'inline',
  start: (source) => source.search(/\$|\\\(/),
  tokenizer(source) {
    const found = match(INLINE_MATH, source);
    return found && { type: 'math', raw: found[0], text: found[1]!, block: found[0].startsWith('$$') };
  },
};

const blockMath: TokenizerAndRendererExtension = {
  name: 'blockMath',
  level: 'block',
  start: (source) => source.search(/\$\$|\\\[/),
  tokenizer(source) {
    const found = match(BLOCK_MATH, source);
    return found && { type: 'math', raw: found[0], text: found[1]!, block: true };
  },
};

const box: TokenizerAndRendererExtension = {
  name: 'box',
  level: 'inline',
  start: (source) => source.indexOf('<box>'),
  tokenizer(source) {
    const found = BOX_HERE.exec(source);
    return found ? { type: 'box', raw: found[0], corners: found.slice(1, 5).map(Number) } : undefined;
  },
};

const marked = new Marked({ gfm: true, breaks: true });
marked.use({ extensions: [inlineMath, blockMath, box] });

export function tokensOf(text: string): Token[] {
  return marked.lexer(text);
}

export interface NamedBox {
  name: string;
  corners: [number, number, number, number];
}

/** The boxes of an answer, each with the name that stands before it. */
export function boxesOf(text: string): NamedBox[] {
  const boxes: NamedBox[] = [];
  const pattern = new RegExp(`(?:<ref>([^<]*)</ref>\\s*)?${BOX.source}`, 'g');
  let name = '';
  for (const found of text.matchAll(pattern)) {
    name = found[1]?.trim() ?? name;
    const [x1, y1, x2, y2] = found.slice(2, 6).map(Number) as [number, number, number, number];
    const inside = Math.max(x1, y1, x2, y2) <= 1000 && x1 < x2 && y1 < y2;
    if (inside) boxes.push({ name, corners: [x1, y1, x2, y2] });
  }
  return boxes;
}
