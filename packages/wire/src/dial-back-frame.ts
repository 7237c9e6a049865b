/**
 * What travels on `/shoal/dial-back/1`, a stream of its own that the asker opens: ASK, then ANSWER or REFUSE, then both
 * close. ASK names no address: those are dialled that the asker's own signed record named when it connected.
 */
import { FrameError, openBody, sealFrame, textFields, uintField } from './frame.ts';

export const DIAL_BACK_PROTOCOL = '/shoal/dial-back/1';
export const MAX_DIALLED_BACK = 8;
const MAX_ADDRESS_BYTES = 256;
export const MAX_DIAL_BACK_BODY_BYTES: number = 3 + MAX_DIALLED_BACK * (2 + MAX_ADDRESS_BYTES + 1);

const ASK = 1;
const ANSWER = 2;
const REFUSE = 3;

export interface DialledBack {
  /** A multiaddr without /p2p. */
  address: string;
  /** Whether the asker itself answered there. */
  reached: boolean;
}

/** `refuse`: asked too often, or too many ask. */
export type DialBackFrame = { type: 'ask' } | { type: 'answer'; tried: readonly DialledBack[] } | { type: 'refuse' };

/** @throws FrameError too-long */
export function encodeDialBackFrame(frame: DialBackFrame): Uint8Array {
  switch (frame.type) {
    case 'ask':
      return sealFrame(ASK, [], MAX_DIAL_BACK_BODY_BYTES);
    case 'refuse':
      return sealFrame(REFUSE, [], MAX_DIAL_BACK_BODY_BYTES);
    case 'answer': {
      const tried = frame.tried.flatMap(({ address, reached }) => [
        ...textFields(address, MAX_ADDRESS_BYTES),
        uintField(reached ? 1 : 0, 1),
      ]);
      return sealFrame(ANSWER, [uintField(frame.tried.length, 1), ...tried], MAX_DIAL_BACK_BODY_BYTES);
    }
  }
}

/** Reads a body from `FrameAssembler`. @throws FrameError */
export function decodeDialBackBody(body: Uint8Array): DialBackFrame {
  const { type, fields } = openBody(body);
  const frame = ((): DialBackFrame => {
    switch (type) {
      case ASK:
        return { type: 'ask' };
      case REFUSE:
        return { type: 'refuse' };
      case ANSWER: {
        const count = fields.uint(1);
        if (count > MAX_DIALLED_BACK) throw new FrameError('too-long', `answer about ${count} addresses`);
        const tried = Array.from({ length: count }, () => {
          const address = fields.text(MAX_ADDRESS_BYTES);
          const reached = fields.uint(1);
          if (reached > 1) throw new FrameError('value', 'neither reached nor not');
          return { address, reached: reached === 1 };
        });
        return { type: 'answer', tried };
      }
      default:
        throw new FrameError('type', `dial-back frame type ${type}`);
    }
  })();
  fields.end();
  return frame;
}
