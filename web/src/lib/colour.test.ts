// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { colour, colours, hash, palette, usual } from './colour';

type Triple = [number, number, number];
// Machado, Oliveira, Fernandes 2009, severity 1.0, on linear RGB
const eyes: Record<string, Triple[]> = {
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
  all: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
};

function linear(hex: string): Triple {
  return [1, 3, 5].map((i) => {
    const c = parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as Triple;
}

function oklab([r, g, b]: Triple): Triple {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function seen(hex: string, eye: Triple[]): Triple {
  const c = linear(hex);
  const clamp = (x: number) => Math.max(0, Math.min(1, x));
  return oklab(eye.map((row) => clamp(row[0] * c[0] + row[1] * c[1] + row[2] * c[2])) as Triple);
}

describe.each(Object.keys(eyes))('for %s', (name) => {
  it('no two of the twelve look alike', () => {
    let least = 1;
    for (const a of palette)
      for (const b of palette) {
        if (a === b) continue;
        const [p, q] = [seen(a, eyes[name]!), seen(b, eyes[name]!)];
        least = Math.min(least, Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
      }
    expect(least).toBeGreaterThan(0.085);
  });
});

it('binds a colour to a name', () => {
  expect(hash('TLS')).toBe(hash('TLS'));
  expect(colour('TLS')).toBe(colour('TLS'));
  expect(palette).toContain(colour('TLS'));
  expect(colours(['DNS', 'TLS']).get('TLS')).toBe(colours(['TLS']).get('TLS'));
});

it('keeps greys for what has no name, and those apart', () => {
  const isGrey = (hex: string) => Math.max(...linear(hex)) - Math.min(...linear(hex)) < 0.12;
  for (const name of ['Other', 'Unknown', '']) expect(isGrey(colour(name)), name).toBe(true);
  expect(palette.some(isGrey)).toBe(false);
  expect(colours(['Other', 'Unknown']).get('Unknown')).toBe(colour('Unknown'));
  expect(colour('Unknown')).not.toBe(colour('Other'));
});

it('parts names that meet in one colour', () => {
  const names = Array.from({ length: 30 }, (_, i) => `app${i}`);
  const map = colours(names);
  expect(new Set(map.values()).size).toBe(names.length);
});

it('gives each of the usual applications a colour of its own', () => {
  expect(new Set(usual.map(colour)).size).toBe(palette.length);
  // whatever else is on the chart
  const all = colours([...Array.from({ length: 40 }, (_, i) => `app${i}`), ...usual]);
  for (const name of usual) expect(all.get(name)).toBe(colour(name));
});
