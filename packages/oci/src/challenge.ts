/**
 * WWW-Authenticate (RFC 9110 §11.6.1): one or several challenges in one or several header values. Read by a scanner
 * that only moves forward, because the text comes from any registry.
 *
 * A comma separates both parameters and challenges. What follows it decides: `name =` is a parameter of the challenge
 * at hand, anything else starts a new one.
 */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  scheme: string;
  /** The opaque credential some schemes carry in place of parameters. */
  token68?: string;
  /** Names in lower case; of a repeated name the first counts. */
  parameters: ReadonlyMap<string, string>;
}

const MAX_HEADER_LENGTH = 16 * 1024;
const MAX_CHALLENGES = 16;
const TOKEN_CHARACTER = /[!#$%&'*+\-.^_`|~0-9A-Za-z]/;
const TOKEN68_CHARACTER = /[A-Za-z0-9\-._~+/]/;

/** Reads what it can: a malformed part is skipped up to the next comma. Over-long values are ignored whole. */
export function parseChallenges(header: string | readonly string[]): Challenge[] {
  const values = typeof header === 'string' ? [header] : header;
  return values.flatMap((value) => (value.length > MAX_HEADER_LENGTH ? [] : readValue(value))).slice(0, MAX_CHALLENGES);
}

interface Open {
  scheme: string;
  token68?: string;
  parameters: Map<string, string>;
}

function readValue(value: string): Open[] {
  const scanner = new Scanner(value);
  const challenges: Open[] = [];
  while (!scanner.atEnd && challenges.length <= MAX_CHALLENGES) {
    scanner.skip(', \t');
    if (scanner.atEnd) break;
    const current = challenges.at(-1);
    const parameter = scanner.parameter('may-be-empty');
    if (parameter !== undefined) {
      if (current !== undefined && !current.parameters.has(parameter.name)) {
        current.parameters.set(parameter.name, parameter.value);
      }
    } else {
      const opened = readScheme(scanner);
      if (opened !== undefined) challenges.push(opened);
    }
    scanner.skipPast(',');
  }
  return challenges;
}

/** A scheme, with its token68 or its first parameter. */
function readScheme(scanner: Scanner): Open | undefined {
  const scheme = scanner.run(TOKEN_CHARACTER).toLowerCase();
  if (scheme === '') return undefined;
  const opened: Open = { scheme, parameters: new Map() };
  scanner.skip(' \t');
  // Right after the scheme, `abc=` is a token68 with its padding.
  const first = scanner.parameter('not-empty');
  if (first !== undefined) {
    opened.parameters.set(first.name, first.value);
    return opened;
  }
  const token68 = scanner.run(TOKEN68_CHARACTER);
  if (token68 !== '') opened.token68 = token68 + scanner.run(/=/);
  return opened;
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  /** The longest run of characters that match, possibly empty. */
  run(character: RegExp): string {
    const from = this.#at;
    while (!this.atEnd && character.test(this.#text.charAt(this.#at))) this.#at++;
    return this.#text.slice(from, this.#at);
  }

  skip(characters: string): void {
    while (!this.atEnd && characters.includes(this.#text.charAt(this.#at))) this.#at++;
  }

  skipPast(character: string): void {
    const found = this.#text.indexOf(character, this.#at);
    this.#at = found === -1 ? this.#text.length : found + 1;
  }

  /** `name = token` or `name = "quoted"`; stays where it is when there is none. */
  parameter(emptyToken: 'may-be-empty' | 'not-empty'): { name: string; value: string } | undefined {
    const from = this.#at;
    const name = this.run(TOKEN_CHARACTER).toLowerCase();
    this.skip(' \t');
    if (name !== '' && this.#text[this.#at] === '=') {
      this.#at++;
      this.skip(' \t');
      const isQuoted = this.#text[this.#at] === '"';
      const value = isQuoted ? this.#quoted() : this.run(TOKEN_CHARACTER);
      if (value !== undefined && (value !== '' || isQuoted || emptyToken === 'may-be-empty')) return { name, value };
    }
    this.#at = from;
    return undefined;
  }

  #quoted(): string | undefined {
    let value = '';
    this.#at++;
    while (!this.atEnd) {
      const character = this.#text.charAt(this.#at++);
      if (character === '"') return value;
      value += character === '\\' ? this.#text.charAt(this.#at++) : character;
    }
    return undefined;
  }
}
