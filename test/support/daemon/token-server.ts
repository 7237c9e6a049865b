import { createPrivateKey, type KeyObject, randomUUID, X509Certificate } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SignJWT } from 'jose';
import { generate } from 'selfsigned';

// The token server of docker-registry's `auth: token`: https://distribution.github.io/distribution/spec/auth/token/ and
// https://distribution.github.io/distribution/spec/auth/jwt/. It answers everybody, with what they may do and no more, as
// the public registries do.

export const tokenService = 'shoal-test-registry';
export const tokenIssuer = 'shoal-test-tokens';
const lifetimeSeconds = 300;

export interface TokenServerUser {
  readonly password: string;
  /** What the user may do where; `pull` and `push`. */
  readonly rights: Readonly<Record<string, readonly string[]>>;
}

export interface TokenServerOptions {
  readonly users: Readonly<Record<string, TokenServerUser>>;
  /** Repositories that may be pulled without any login. */
  readonly publicRepositories?: readonly string[];
}

interface Access {
  readonly type: 'repository';
  readonly name: string;
  readonly actions: string[];
}

export class TokenServer implements AsyncDisposable {
  /** PEM, for the registry's `rootcertbundle`. */
  readonly certificate: string;
  /** The users who asked for a token, `undefined` for those without a login, in order. */
  readonly asked: (string | undefined)[] = [];
  readonly #server: Server;
  readonly #key: KeyObject;
  readonly #options: TokenServerOptions;

  private constructor(parts: { key: string; certificate: string }, options: TokenServerOptions) {
    this.certificate = parts.certificate;
    this.#key = createPrivateKey(parts.key);
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
  }

  static async start(options: TokenServerOptions): Promise<TokenServer> {
    const made = await generate([{ name: 'commonName', value: tokenIssuer }], { keyType: 'ec', curve: 'P-256' });
    const server = new TokenServer({ key: made.private, certificate: made.cert }, options);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get realm(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/token`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== 'GET') {
      // No OAuth here: clients that begin with a POST go on with a GET.
      response.writeHead(405).end('{}');
      return;
    }
    const login = loginOf(request.headers.authorization);
    this.asked.push(login?.user);
    const user = login === undefined ? undefined : this.#options.users[login.user];
    if (login !== undefined && user?.password !== login.password) {
      response.writeHead(401).end('{}');
      return;
    }
    const scopes = new URL(request.url ?? '', this.realm).searchParams
      .getAll('scope')
      .flatMap((text) => text.split(' '));
    const access = scopes.flatMap((scope) => this.#granted(scope, user));
    const nowSeconds = Math.floor(Date.now() / 1000);
    const token = await new SignJWT({ access })
      .setProtectedHeader({
        alg: 'ES256',
        typ: 'JWT',
        x5c: [new X509Certificate(this.certificate).raw.toString('base64')],
      })
      .setIssuer(tokenIssuer)
      .setSubject(login?.user ?? '')
      .setAudience(tokenService)
      .setJti(randomUUID())
      .setIssuedAt(nowSeconds)
      .setNotBefore(nowSeconds - 5)
      .setExpirationTime(nowSeconds + lifetimeSeconds)
      .sign(this.#key);
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ token, expires_in: lifetimeSeconds }));
  }

  #granted(scope: string, user: TokenServerUser | undefined): Access[] {
    const [type, name = '', wanted = ''] = scope.split(':');
    if (type !== 'repository') return [];
    const everybodys = this.#options.publicRepositories?.includes(name) ? ['pull'] : [];
    const rights = [...everybodys, ...(user?.rights[name] ?? [])];
    const actions = wanted.split(',').filter((action) => rights.includes(action));
    return actions.length === 0 ? [] : [{ type, name, actions }];
  }
}

function loginOf(authorization: string | undefined): { user: string; password: string } | undefined {
  const [, encoded] = /^Basic (.+)$/.exec(authorization ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return { user: text.slice(0, colon), password: text.slice(colon + 1) };
}
