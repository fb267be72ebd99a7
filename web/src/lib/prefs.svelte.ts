// SPDX-License-Identifier: Apache-2.0
// What one person chose on this browser: theme and time zone.

type Theme = 'system' | 'light' | 'dark';
const next: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };

function load(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function save(key: string, value: string) {
  try {
    localStorage.setItem(key, value);
  } catch {
    /* storage is off: it holds until the page is left */
  }
}

const dark = matchMedia('(prefers-color-scheme: dark)');

class Prefs {
  theme = $state<Theme>((load('weir-theme') as Theme | null) ?? 'system');
  utc = $state(load('weir-utc') === '1');
  systemDark = $state(dark.matches);
  dark = $derived(this.theme === 'system' ? this.systemDark : this.theme === 'dark');

  constructor() {
    dark.addEventListener('change', () => (this.systemDark = dark.matches));
  }

  stepTheme() {
    this.theme = next[this.theme];
    save('weir-theme', this.theme);
    if (this.theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme;
  }

  stepZone() {
    this.utc = !this.utc;
    save('weir-utc', this.utc ? '1' : '0');
  }
}

export const prefs = new Prefs();
