// SPDX-License-Identifier: Apache-2.0
// Paths of 20 by 20, drawn with a stroke of 1.6.
export const shapes = {
  overview: 'M3 13.5l4-5 3.5 3.5L17 4.5M3 17h14',
  flows: 'M3 6.5h12m-3-3 3 3-3 3M17 13.5H5m3-3-3 3 3 3',
  probes: 'M10 10.2a1.2 1.2 0 1 0 0-.4M6.4 13.6a5 5 0 0 1 0-7.2m7.2 0a5 5 0 0 1 0 7.2M4 16.2a8.6 8.6 0 0 1 0-12.4m12 0a8.6 8.6 0 0 1 0 12.4',
  exporters: 'M3.5 11.5h13v5h-13zM6.5 14h.01M9.5 14h4M6 9V6m-2 1.6L6 5.5l2 2.1M10 9V3.5M8 5.4l2-2 2 2M14 9V6m-2 1.6 2-2.1 2 2.1',
  interfaces: 'M3.5 5.5h13v4h-13zM3.5 12.5h13v2.5h-13zM6.5 7.5h.01M10 9.5v3',
  licence: 'M5 2.5h7l3 3v12H5zM11.8 2.7v3h3M7.8 11.4l1.7 1.7 3-3.6',
  help: 'M7.2 7.3a2.8 2.8 0 1 1 4 2.6c-.8.4-1.2.9-1.2 1.9M10 15h.01',
  sun: 'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1',
  moon: 'M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5',
  auto: 'M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M10 3v14M10 6.5h4.6M10 10h7M10 13.5h4.6',
  leave: 'M12 4H5v12h7M9 10h8m-3-3 3 3-3 3',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  done: 'M4 10.5l4 4 8-9',
  down: 'M10 3v10m-4-4 4 4 4-4M4 16.5h12',
  cross: 'M5 5l10 10M15 5L5 15',
  pause: 'M7 5v10M13 5v10',
  play: 'M6.5 4.5v11l9-5.5z',
  search: 'M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M13 13l4 4',
  more: 'M5.5 8l4.5 4.5L14.5 8',
} as const;
export type IconName = keyof typeof shapes;
