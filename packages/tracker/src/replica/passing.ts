/** Passes calls on to the replica that leads. It is known by its certificate: all replicas have the same identity. */
import { TRACKER_INSTANCE_HEADER } from '@shoal/wire';
import { Agent } from 'undici';
import { type ApiCall, PassedAnswer } from './seat.ts';

/** Set in calls that were passed on: these are not passed on again. */
export const PASSED_HEADER = 'shoal-tracker-passed';
const MAX_CONNECTIONS = 64;
const CONNECT_TIMEOUT_MS = 1_000;
/** Longer than the longest answer is held back on purpose. */
const ANSWER_TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

export class Passing {
  readonly #agent: Agent;

  /** @param certificate PEM */
  constructor(certificate: string) {
    this.#agent = new Agent({
      connections: MAX_CONNECTIONS,
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: ANSWER_TIMEOUT_MS,
      maxResponseSize: MAX_ANSWER_BYTES,
      allowH2: false,
      connect: {
        ca: certificate,
        // The certificate alone counts, whatever the address.
        checkServerIdentity: () => undefined,
        timeout: CONNECT_TIMEOUT_MS,
        maxCachedSessions: 0,
      },
    });
  }

  /** @throws Error when that replica does not answer, or does not lead */
  async pass(url: string, { path, body, authorization }: ApiCall, signal: AbortSignal): Promise<PassedAnswer> {
    const response = await this.#agent.request({
      origin: url,
      path,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        [PASSED_HEADER]: '1',
        ...(authorization === undefined ? {} : { authorization }),
      },
      body: JSON.stringify(body),
      signal,
    });
    const text = await response.body.text();
    if (response.statusCode === 503) throw new Error('it does not lead');
    const instance = response.headers[TRACKER_INSTANCE_HEADER];
    return new PassedAnswer(response.statusCode, typeof instance === 'string' ? instance : '', text);
  }

  close(): void {
    this.#agent.destroy().catch(() => undefined);
  }
}
