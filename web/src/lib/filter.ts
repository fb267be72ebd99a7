// SPDX-License-Identifier: Apache-2.0
// A filter is text, in the hub's language (src/query/filter.h). The hub alone decides what it
// means; here it is only cut at its top-level "and"s, so that each test can be shown as a token,
// removed, or replaced by a click. Text that is not such a list is one token, kept as it is.

export interface Token {
  /** the test as written */
  text: string;
  /** set when it reads "field = value" or "field != value" */
  field?: string;
  op?: '=' | '!=';
  value?: string;
}

interface Word {
  text: string;
  start: number;
  end: number;
  kind: 'word' | 'text' | 'sign';
}

// Words of the language: quoted text, signs, everything else up to a blank or sign.
function words(filter: string): Word[] | null {
  const shape = /\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(&&|\|\||==|!=|<=|>=|[=<>~!(),])|([^\s"'=<>~!(),&|]+))/gy;
  const found: Word[] = [];
  let at = 0;
  while (at < filter.length) {
    if (filter.slice(at).trim() === '') break;
    shape.lastIndex = at;
    const hit = shape.exec(filter);
    if (!hit) return null;
    const text = hit[1] ?? hit[2] ?? hit[3] ?? '';
    const end = at + hit[0].length;
    found.push({ text, start: end - text.length, end, kind: hit[1] ? 'text' : hit[2] ? 'sign' : 'word' });
    at = end;
  }
  return found;
}

const isAnd = (word: Word) => word.text === '&&' || (word.kind === 'word' && word.text.toLowerCase() === 'and');
const isOr = (word: Word) => word.text === '||' || (word.kind === 'word' && word.text.toLowerCase() === 'or');

/** The tokens of a filter; one token for the whole of it when it is not a plain list of "and"s. */
export function tokens(filter: string): Token[] {
  const whole = filter.trim();
  if (whole === '') return [];
  const all = words(whole);
  if (all === null) return [{ text: whole }];
  const groups: Word[][] = [[]];
  let depth = 0;
  for (const word of all) {
    if (word.kind === 'sign' && word.text === '(') depth++;
    if (word.kind === 'sign' && word.text === ')') depth--;
    if (depth < 0 || (depth === 0 && isOr(word))) return [{ text: whole }];
    if (depth === 0 && isAnd(word)) groups.push([]);
    else groups[groups.length - 1]?.push(word);
  }
  if (depth !== 0 || groups.some((group) => group.length === 0)) return [{ text: whole }];
  return groups.map((group) => {
    const first = group[0] as Word;
    const last = group[group.length - 1] as Word;
    const text = whole.slice(first.start, last.end);
    const sign = group[1]?.text;
    if (group.length === 3 && first.kind === 'word' && (sign === '=' || sign === '==' || sign === '!='))
      return { text, field: first.text, op: sign === '!=' ? '!=' : '=', value: unquote(last) };
    return { text };
  });
}

export function join(list: Token[]): string {
  return list.map((token) => token.text).join(' and ');
}

function unquote(word: Word): string {
  return word.kind === 'text' ? word.text.slice(1, -1).replace(/\\(.)/g, '$1') : word.text;
}

/** A value as the language takes it: numbers and addresses bare, everything else in quotes. */
export function quote(value: string | number): string {
  const text = String(value);
  if (/^\d+$/.test(text)) return text;
  if (/^\d{1,3}(\.\d{1,3}){3}(\/\d+)?$/.test(text)) return text;
  if (/^[0-9a-fA-F:]*:[0-9a-fA-F:.]*(\/\d+)?$/.test(text)) return text;
  return `"${text.replace(/(["\\])/g, '\\$1')}"`;
}

export function test(field: string, value: string | number, exclude = false): Token {
  const op = exclude ? '!=' : '=';
  return { text: `${field} ${op} ${quote(value)}`, field, op, value: String(value) };
}

/**
 * "Only this" or "not this": the filter with that test added. An earlier test of the same value is
 * replaced, and so is an earlier "only" of the same field, which would leave nothing.
 */
export function withTest(filter: string, field: string, value: string | number, exclude = false): string {
  const added = test(field, value, exclude);
  const old = tokens(filter);
  const first = old[0];
  if (old.length === 1 && first && first.field === undefined && topOr(first.text))
    return `(${first.text}) and ${added.text}`;
  const kept = old.filter(
    (token) => token.field !== field || (token.value !== added.value && (exclude || token.op === '!=')),
  );
  return join([...kept, added]);
}

function topOr(text: string): boolean {
  let depth = 0;
  for (const word of words(text) ?? []) {
    if (word.text === '(') depth++;
    else if (word.text === ')') depth--;
    else if (depth === 0 && isOr(word)) return true;
  }
  return false;
}

export function without(filter: string, at: number): string {
  return join(tokens(filter).filter((_, i) => i !== at));
}
