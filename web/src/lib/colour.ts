// SPDX-License-Identifier: Apache-2.0
// A name has its colour everywhere: a stable hash of the name picks one of twelve. The twelve were
// chosen by search to stay apart under protanopia, deuteranopia and tritanopia (colour.test.ts
// measures it) on both themes. When two names of one chart meet in a colour, the less usual, then
// the later by name, takes a lighter or a darker shade of it: the hue still belongs to the name.

export const palette = [
  '#377a9f', '#2dd5cc', '#89a100', '#ac3d67', '#cfba10', '#7752cb',
  '#378cf4', '#b57062', '#9fadfe', '#f68e83', '#806800', '#c286c0',
] as const;

/** What is not one thing, and what has no name. */
const greys = new Map([['Other', '#b4bcc7'], ['Unknown', '#7d8896'], ['', '#7d8896']]);

/** The applications seen most. The hash begins where these twelve have a colour each (by search). */
export const usual = [
  'TLS', 'QUIC', 'DNS', 'HTTP', 'SSH', 'ICMP', 'ICMPV6', 'NTP', 'MDNS', 'DHCP', 'SMBv23', 'TLS.Google',
];
const start = 1416847;

/** FNV-1a, 32 bits, over UTF-16 units, from a start of our own. */
export function hash(name: string): number {
  let h = start;
  for (let i = 0; i < name.length; i++) {
    h ^= name.charCodeAt(i);
    h = Math.imul(h, 0x01000193) >>> 0;
  }
  // The low bits of FNV mix least in short names.
  return (h ^ (h >>> 15)) >>> 0;
}

function slot(name: string): number {
  return hash(name) % palette.length;
}

export function colour(name: string): string {
  return greys.get(name) ?? palette[slot(name)] ?? '';
}

function shade(hex: string, toward: number, part: number): string {
  const at = (i: number) => {
    const c = parseInt(hex.slice(i, i + 2), 16);
    return Math.round(c + (toward - c) * part)
      .toString(16)
      .padStart(2, '0');
  };
  return `#${at(1)}${at(3)}${at(5)}`;
}

const shades: [number, number][] = [[0, 0], [255, 0.45], [0, 0.35], [255, 0.7], [0, 0.55]];

function byCustom(a: string, b: string): number {
  const [x, y] = [usual.indexOf(a), usual.indexOf(b)];
  if (x >= 0 || y >= 0) return (x < 0 ? usual.length : x) - (y < 0 ? usual.length : y);
  return a < b ? -1 : 1;
}

/** Colours for names shown together. */
export function colours(names: Iterable<string>): Map<string, string> {
  const taken = new Map<number, number>();
  const result = new Map<string, string>();
  for (const name of [...new Set(names)].sort(byCustom)) {
    const grey = greys.get(name);
    if (grey) {
      result.set(name, grey);
      continue;
    }
    const at = slot(name);
    const times = taken.get(at) ?? 0;
    taken.set(at, times + 1);
    const [toward, part] = shades[times % shades.length] ?? [0, 0];
    result.set(name, shade(colour(name), toward, part));
  }
  return result;
}
