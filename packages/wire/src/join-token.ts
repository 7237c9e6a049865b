/**
 * What an operator hands to a new agent: `shoal1.<pin>.<secret>`, both parts base64url.
 * The pin lets the agent know the tracker without certificates to manage, the secret lets the tracker know the agent.
 */
export interface JoinToken {
  /** base64url of the SHA-256 of the tracker's TLS public key (SPKI, DER). */
  pin: string;
  /** base64url of the cluster's join secret; sent as it is in `JoinRequest.secret`. */
  secret: string;
}

const PIN_BYTES = 32;
const MIN_SECRET_BYTES = 16;
const MAX_SECRET_BYTES = 64;

export function formatJoinToken(token: JoinToken): string {
  return `shoal1.${token.pin}.${token.secret}`;
}

/** Surrounding white space is allowed, so that a file with a final newline can be read as it is. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [version, pin, secret, ...rest] = text.trim().split('.');
  if (version !== 'shoal1' || pin === undefined || secret === undefined || rest.length > 0) return undefined;
  const secretBytes = canonicalLength(secret);
  if (canonicalLength(pin) !== PIN_BYTES) return undefined;
  if (secretBytes === undefined || secretBytes < MIN_SECRET_BYTES || secretBytes > MAX_SECRET_BYTES) return undefined;
  return { pin, secret };
}

/** How many bytes the text stands for; undefined unless it is the one base64url spelling of them. */
function canonicalLength(text: string): number | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes.length : undefined;
}
