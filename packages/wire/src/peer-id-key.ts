/**
 * An Ed25519 PeerId is its own public key: base58btc of an identity multihash around a small protobuf. That is all
 * this cluster uses, so a signature by a member can be checked from the PeerId alone, without a libp2p dependency.
 * See https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
 */
const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const PEER_ID_CHARACTERS = 52;
const KEY_BYTES = 32;
/**
 * After the leading zero of the identity multihash (written as the leading '1'): its length 0x24, then the protobuf
 * `{ 1: Type = Ed25519 (1), 2: Data = 32 bytes }`.
 */
const PREFIX_HEX = '2408011220';

/** The 32 raw bytes of the public key; undefined when the text is not an Ed25519 PeerId in base58btc. */
export function ed25519KeyOfPeerId(peerId: string): Uint8Array | undefined {
  if (peerId.length !== PEER_ID_CHARACTERS || peerId[0] !== '1') return undefined;
  let value = 0n;
  for (const character of peerId) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) return undefined;
    value = value * 58n + BigInt(digit);
  }
  const hex = value.toString(16);
  if (hex.length !== PREFIX_HEX.length + 2 * KEY_BYTES || !hex.startsWith(PREFIX_HEX)) return undefined;
  return Uint8Array.from(Buffer.from(hex.slice(PREFIX_HEX.length), 'hex'));
}

/** The PeerId of a raw Ed25519 public key of 32 bytes. */
export function peerIdOfEd25519Key(key: Uint8Array): string {
  if (key.length !== KEY_BYTES) throw new RangeError(`an Ed25519 public key has ${KEY_BYTES} bytes, not ${key.length}`);
  let value = BigInt(`0x${PREFIX_HEX}${Buffer.from(key).toString('hex')}`);
  let text = '';
  while (value > 0n) {
    text = (ALPHABET[Number(value % 58n)] ?? '') + text;
    value /= 58n;
  }
  return `1${text}`;
}
