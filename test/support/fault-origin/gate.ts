// The registry's login: none, Basic, or Bearer tokens from its own token server (`/token`), per repository.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export type OriginAuth =
  | { readonly type: 'none' }
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  /** Without a username tokens are for anybody. */
  | {
      readonly type: 'bearer';
      readonly username?: string;
      readonly password?: string;
      /** @default 300 */
      readonly expiresInSeconds?: number;
    };

export const tokenService = 'fault-origin';

export class Gate {
  readonly #auth: OriginAuth;
  /** Token to the scope it was made for and its end. */
  readonly #tokens = new Map<string, { scopes: readonly string[]; expiresAtMs: number }>();

  constructor(auth: OriginAuth) {
    this.#auth = auth;
  }

  /** The challenge to refuse this request with; undefined when it may pass. Without a repository any login will do. */
  refusal(request: IncomingMessage, repository: string | undefined): string | undefined {
    const auth = this.#auth;
    if (auth.type === 'none') return undefined;
    const { authorization } = request.headers;
    if (auth.type === 'basic') {
      return authorization === basic(auth.username, auth.password) ? undefined : 'Basic realm="fault-origin"';
    }
    const token = this.#tokens.get(authorization?.replace(/^Bearer /, '') ?? '');
    const scope = repository === undefined ? undefined : `repository:${repository}:pull`;
    const passes =
      token !== undefined && token.expiresAtMs > Date.now() && (scope === undefined || token.scopes.includes(scope));
    if (passes) return undefined;
    const realm = `realm="http://${request.headers.host}/token",service="${tokenService}"`;
    return scope === undefined ? `Bearer ${realm}` : `Bearer ${realm},scope="${scope}"`;
  }

  /** The token server's answer; undefined for a wrong login. */
  grant(request: IncomingMessage, query: URLSearchParams): { token: string; expires_in: number } | undefined {
    const auth = this.#auth;
    if (auth.type !== 'bearer') return undefined;
    const { username, password = '', expiresInSeconds = 300 } = auth;
    if (username !== undefined && request.headers.authorization !== basic(username, password)) return undefined;
    const token = randomUUID();
    this.#tokens.set(token, { scopes: query.getAll('scope'), expiresAtMs: Date.now() + 1000 * expiresInSeconds });
    return { token, expires_in: expiresInSeconds };
  }

  revoke(): void {
    this.#tokens.clear();
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}
