// Agents as the tracker sees them: real keys, real sessions, and the announcement of one image that all of them want.
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { joinProofBytes, parseJoinToken, peerIdOfEd25519Key } from '@shoal/wire';
import type { Answer } from './pinned-connection.ts';

const ZONES = 4;
const blobOf = (text: string): string => `docker.io/sha256:${createHash('sha256').update(text).digest('hex')}`;

export interface CrowdOptions {
  agents: number;
  blobs: number;
  host: string;
  joinToken: string;
}

interface CrowdAgent {
  peerId: string;
  privateKey: KeyObject;
  zone: string;
  announcement: Buffer;
}

export class Crowd {
  readonly #options: CrowdOptions;
  readonly #agents: CrowdAgent[];

  constructor(options: CrowdOptions) {
    this.#options = options;
    this.#agents = Array.from({ length: options.agents }, (_, index) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const peerId = peerIdOfEd25519Key(Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'));
      return { peerId, privateKey, zone: `zone-${index % ZONES}`, announcement: Buffer.alloc(0) };
    });
  }

  get size(): number {
    return this.#agents.length;
  }

  joinRequest(index: number): Buffer {
    const { peerId, privateKey, zone } = this.#agents[index]!;
    const sentAtMs = Date.now();
    const proof = sign(null, joinProofBytes(peerId, sentAtMs), privateKey).toString('base64url');
    const secret = parseJoinToken(this.#options.joinToken)?.secret;
    return this.#request('/v1/join', { secret, peerId, sentAtMs, proof, zone });
  }

  /** @throws Error when the tracker refused the agent */
  joined(index: number, answer: Answer): void {
    const { session } = JSON.parse(answer.body.toString());
    if (answer.status !== 200) throw new Error(`join: ${answer.status} ${answer.body}`);
    const addresses = [`/ip4/10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/tcp/7301`];
    const blobs = Array.from({ length: this.#options.blobs }, (_, blob) => ({
      blob: blobOf(`layer ${blob}`),
      state: 'want',
    }));
    this.#agents[index]!.announcement = this.#request('/v1/announce', { addresses, blobs, withdraw: [] }, session);
  }

  announcement(index: number): Buffer {
    return this.#agents[index]!.announcement;
  }

  #request(path: string, body: unknown, session?: string): Buffer {
    const text = JSON.stringify(body);
    const lines = [
      `POST ${path} HTTP/1.1`,
      `host: ${this.#options.host}`,
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(text)}`,
      ...(session === undefined ? [] : [`authorization: Bearer ${session}`]),
    ];
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${text}`);
  }
}
