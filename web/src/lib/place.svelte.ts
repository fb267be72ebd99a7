// SPDX-License-Identifier: Apache-2.0
// Where we are: path, filter, time range and the page's own parameters, all held by the address,
// so that a link shows what its sender saw and "back" works.

import * as ranges from './range';
import type { Range } from './range';

/** carried from page to page; everything else belongs to one page */
const shared = ['filter', 'range', 'from', 'to', 'live'];

class Place {
  path = $state(location.pathname);
  search = $state(location.search);
  params = $derived(new URLSearchParams(this.search));
  filter = $derived(this.params.get('filter') ?? '');
  range = $derived<Range>(ranges.read(this.params));
  /** the range moves with time; "between" never does */
  live = $derived(this.range.kind === 'last' && this.params.get('live') !== '0');

  constructor() {
    addEventListener('popstate', () => this.#read());
  }

  #read() {
    this.path = location.pathname;
    this.search = location.search;
  }

  go(address: string, replace = false) {
    if (replace) history.replaceState(null, '', address);
    else history.pushState(null, '', address);
    this.#read();
  }

  /** The address of a page, with filter and range kept. */
  to(path: string, own: Record<string, string> = {}): string {
    const params = new URLSearchParams();
    for (const name of shared) {
      const value = this.params.get(name);
      if (value !== null) params.set(name, value);
    }
    for (const [name, value] of Object.entries(own)) {
      if (value === '') params.delete(name);
      else params.set(name, value);
    }
    const query = params.toString();
    return path + (query ? '?' + query : '');
  }

  /** Change parameters of this page; an empty value takes one out. */
  set(changes: Record<string, string>, replace = false) {
    const params = new URLSearchParams(this.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value === '') params.delete(name);
      else params.set(name, value);
    }
    this.#goParams(params, replace);
  }

  setFilter(filter: string) {
    this.set({ filter: filter.trim(), offset: '', flow: '' });
  }

  setRange(range: Range) {
    const params = new URLSearchParams(this.search);
    ranges.write(params, range);
    params.delete('offset');
    params.delete('live');
    this.#goParams(params, false);
  }

  setLive(live: boolean) {
    if (live && this.range.kind === 'between') this.setRange({ kind: 'last', ...ranges.usual });
    else this.set({ live: live ? '' : '0' }, true);
  }

  #goParams(params: URLSearchParams, replace: boolean) {
    const query = params.toString();
    const address = this.path + (query ? '?' + query : '');
    if (address !== this.path + this.search) this.go(address, replace);
  }
}

export const place = new Place();

/** Links inside the application change the page without loading it anew. */
export function followLinks(event: MouseEvent) {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element | null)?.closest('a');
  if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
  if (link.pathname.startsWith('/api/')) return;
  event.preventDefault();
  place.go(link.pathname + link.search + link.hash);
}
