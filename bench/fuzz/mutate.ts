/** Texts that are nearly right: pieces of good ones, cut, doubled, swapped and salted with what parsers stumble over. */
import type { Random } from '@shoal/swarm';

const SALT = [
  '',
  ' ',
  '\t',
  '\n',
  '\r\n',
  '\0',
  '"',
  "'",
  '\\',
  ',',
  ';',
  ':',
  '/',
  '//',
  '..',
  '@',
  '=',
  '-',
  '#',
  '?',
  '&',
  '%',
  '%2f',
  '%00',
  '<',
  '>',
  '[',
  ']',
  '[[',
  ']]',
  '{',
  '}',
  '*',
  '.',
  '0',
  '-1',
  '9'.repeat(17),
  '1e9',
  'NaN',
  'ä',
  '\u202e',
  '\ud800',
  'a'.repeat(300),
  'sha256:',
  '0'.repeat(64),
  'true',
  'null',
];
const MAX_LENGTH = 2_000;

/** @param random in [0, 1) */
export function mutated(corpus: readonly string[], random: Random): string {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  let text = pick(corpus);
  for (let edits = Math.floor(random() * 4); edits > 0; edits--) {
    const at = Math.floor(random() * (text.length + 1));
    const length = Math.floor(random() * 8);
    switch (Math.floor(random() * 5)) {
      case 0:
        text = text.slice(0, at) + text.slice(at + length);
        break;
      case 1:
        text = text.slice(0, at) + pick(SALT) + text.slice(at);
        break;
      case 2:
        text = text.slice(0, at) + pick(SALT) + text.slice(at + length);
        break;
      case 3: {
        const other = pick(corpus);
        text = text.slice(0, at) + other.slice(Math.floor(random() * (other.length + 1)));
        break;
      }
      default:
        text = text.slice(0, at) + text.slice(Math.max(0, at - length));
    }
  }
  return text.slice(0, MAX_LENGTH);
}
