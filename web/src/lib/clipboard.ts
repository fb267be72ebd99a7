// SPDX-License-Identifier: Apache-2.0
// Copying. Browsers give navigator.clipboard only to https and localhost; a hub is often reached
// by plain http and a private address. There the old command still works in most browsers, and
// where that fails too, the text is left selected, ready for Ctrl-C.

export type Copied = 'copied' | 'selected';

export async function copy(text: string, field: HTMLElement): Promise<Copied> {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return 'copied';
    } catch {
      /* refused by the browser's settings */
    }
  }
  select(field);
  try {
    if (document.execCommand('copy')) return 'copied';
  } catch {
    /* not there any more */
  }
  return 'selected';
}

export function select(field: HTMLElement) {
  const range = document.createRange();
  range.selectNodeContents(field);
  const selection = getSelection();
  selection?.removeAllRanges();
  selection?.addRange(range);
}
