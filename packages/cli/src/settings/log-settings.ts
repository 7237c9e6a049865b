/** How much is logged and in what form; the same for every program. Logs go to stderr. */
import { plainText } from './reader.ts';
import type { Setting } from './setting.ts';

export const logSettings: readonly Setting[] = [
  {
    beginsGroup: 'Log',
    key: 'log-level',
    path: ['log', 'level'],
    placeholder: 'LEVEL',
    help: 'trace, debug, info, warn, error, fatal or silent',
    defaultText: 'info',
    reader: plainText,
    shape: 'one',
    changeable: true,
  },
  {
    key: 'log-format',
    path: ['log', 'format'],
    placeholder: 'FORMAT',
    help: 'json, pretty, or auto: readable on a terminal, JSON elsewhere',
    defaultText: 'auto',
    reader: plainText,
    shape: 'one',
  },
];
