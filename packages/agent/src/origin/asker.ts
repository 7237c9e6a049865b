/**
 * In whose name a registry is asked.
 *
 * - `node`: with the credentials that are configured for the registry, or anonymously where there are none;
 * - `anonymous`: as somebody without any, although the node has some;
 * - a client's own: what it sent in `Authorization` goes up unchanged, to the registry itself and nowhere else. No challenge is
 *   answered for it: only the client can log in.
 */
import { createHmac, randomBytes } from 'node:crypto';

export type Asker = 'node' | 'anonymous' | ClientAuthorization;

/** Longer ones are ignored. */
const MAX_HEADER_LENGTH = 16 * 1024;
const ID_KEY = randomBytes(32);

/** The value is reachable through `header` alone, so that it is never logged, printed or serialised by accident. */
export class ClientAuthorization {
  /** Stands for the credential where it is compared. Of no use outside of this process. */
  readonly id: string;
  readonly #header: string;

  private constructor(header: string) {
    this.#header = header;
    this.id = createHmac('sha256', ID_KEY).update(header).digest('base64url');
  }

  /** Undefined for a header that is no Basic or Bearer credential. */
  static from(header: string | undefined): ClientAuthorization | undefined {
    if (header === undefined || header.length > MAX_HEADER_LENGTH) return undefined;
    return /^(basic|bearer) +[\x21-\x7e]+$/i.test(header) ? new ClientAuthorization(header) : undefined;
  }

  get header(): string {
    return this.#header;
  }

  toJSON(): string {
    return 'a client';
  }
}

/** Two askers with the same key would be told the same. */
export function askerKey(asker: Asker): string {
  return asker instanceof ClientAuthorization ? asker.id : asker;
}
