// SPDX-License-Identifier: Apache-2.0
// Numbers and times as people read them: SI steps, three significant digits, the unit beside.
// The exact value belongs on hover; exact() gives it.

const steps = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const nbsp = '\u00a0';

/** Three significant digits and the SI step: 12345 → ["12.3", "k"]. Whole below 1000 stay whole. */
export function scale(value: number): [string, string] {
  if (!Number.isFinite(value)) return ['–', ''];
  const sign = value < 0 ? '−' : '';
  let rest = Math.abs(value);
  if (rest === 0) return ['0', ''];
  let step = 0;
  // 999.5 would print as 1000: it belongs to the next step already.
  while (rest >= 999.5 && step < steps.length - 1) {
    rest /= 1000;
    step++;
  }
  const whole = step === 0 && Number.isInteger(rest);
  const digits = whole || rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : rest >= 0.9995 ? 2 : 3;
  return [sign + rest.toFixed(digits), steps[step] ?? ''];
}

/** "12.3 Mbit/s"; with an empty unit "12.3 M". */
export function si(value: number, unit = ''): string {
  const [number, step] = scale(value);
  if (step === '' && (unit === '' || unit.startsWith('/'))) return number + unit;
  return `${number}${nbsp}${step}${unit}`;
}

export const bits = (perSecond: number) => si(perSecond, 'bit/s');
export const bytes = (octets: number) => si(octets, 'B');
export const packets = (perSecond: number) => si(perSecond, 'p/s');

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 3 });

/** All digits, for hover: "12,345,678 bytes". */
export function exact(value: number, unit = ''): string {
  return unit === '' ? grouped.format(value) : `${grouped.format(value)} ${unit}`;
}

/** A count and its noun: "1 probe", "2 probes", "12.3 k flows". */
export function count(value: number, one: string, many = one + 's'): string {
  return `${value < 10_000 ? exact(value) : si(value)} ${value === 1 ? one : many}`;
}

/** A length of time in its largest useful unit: "850 ms", "12 s", "3 min", "2 h", "5 days". */
export function span(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1000) return `${Math.round(ms)} ms`;
  const s = Math.round(size / 1000);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} days`;
}

/** How long a flow lasted: milliseconds below 10 s, then seconds with one digit, then min:s. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}${nbsp}ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)}${nbsp}s`;
  const s = Math.round(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}${nbsp}min`;
}

export function ago(then: number, now: number): string {
  if (then <= 0) return 'never';
  const past = now - then;
  return past < 1500 ? 'now' : `${span(past)} ago`;
}

const two = (n: number) => String(n).padStart(2, '0');
const three = (n: number) => String(n).padStart(3, '0');

function parts(ms: number, utc: boolean) {
  const at = new Date(ms);
  return utc
    ? { y: at.getUTCFullYear(), mo: at.getUTCMonth() + 1, d: at.getUTCDate(),
        h: at.getUTCHours(), mi: at.getUTCMinutes(), s: at.getUTCSeconds() }
    : { y: at.getFullYear(), mo: at.getMonth() + 1, d: at.getDate(),
        h: at.getHours(), mi: at.getMinutes(), s: at.getSeconds() };
}

/** "14:03:22" */
export function clock(ms: number, utc = false): string {
  const p = parts(ms, utc);
  return `${two(p.h)}:${two(p.mi)}:${two(p.s)}`;
}

/** "2026-11-23" */
export function day(ms: number, utc = false): string {
  const p = parts(ms, utc);
  return `${p.y}-${two(p.mo)}-${two(p.d)}`;
}

/** "2026-11-23 14:03:22.120" */
export function stamp(ms: number, utc = false): string {
  const p = parts(ms, utc);
  return `${p.y}-${two(p.mo)}-${two(p.d)} ${two(p.h)}:${two(p.mi)}:${two(p.s)}.${three(((ms % 1000) + 1000) % 1000)}`;
}

/** "11-23 14:03:22", or the clock alone when it is the same day as `now` */
export function shortStamp(ms: number, now: number, utc = false): string {
  const a = parts(ms, utc);
  const b = parts(now, utc);
  const today = a.y === b.y && a.mo === b.mo && a.d === b.d;
  return today ? clock(ms, utc) : `${two(a.mo)}-${two(a.d)} ${clock(ms, utc)}`;
}

/** "UTC", "UTC+2", "UTC+5:30": said once, in the bar. */
export function zone(ms: number, utc = false): string {
  const offset = utc ? 0 : -new Date(ms).getTimezoneOffset();
  if (offset === 0) return 'UTC';
  const size = Math.abs(offset);
  const minutes = size % 60;
  return `UTC${offset < 0 ? '−' : '+'}${Math.floor(size / 60)}${minutes ? ':' + two(minutes) : ''}`;
}

/** For <input type="datetime-local" step="1">. */
export function toField(ms: number, utc = false): string {
  const p = parts(ms, utc);
  return `${p.y}-${two(p.mo)}-${two(p.d)}T${two(p.h)}:${two(p.mi)}:${two(p.s)}`;
}

export function fromField(text: string, utc = false): number | null {
  const ms = Date.parse(utc ? text + 'Z' : text);
  return Number.isNaN(ms) ? null : ms;
}
