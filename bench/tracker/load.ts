// Two ways of asking a server: as fast as it answers (closed), and at a given pace whatever it answers (open).
import type { Answer, PinnedConnection } from './pinned-connection.ts';

/** How often the open loop looks which requests are due. */
const PACE_EVERY_MS = 1;

export interface Load {
  connections: readonly PinnedConnection[];
  request: (index: number) => Buffer;
  onAnswer?: (index: number, answer: Answer) => void;
}

/** Sends requests 0, 1, … on all connections until `until` says stop. @returns how many were answered */
export async function closedLoop(load: Load, until: (sent: number) => boolean): Promise<number> {
  let next = 0;
  let answered = 0;
  const worker = async (connection: PinnedConnection): Promise<void> => {
    while (!until(next)) {
      const index = next++;
      const answer = await connection.send(load.request(index));
      answered++;
      load.onAnswer?.(index, answer);
    }
  };
  await Promise.all(load.connections.map(worker));
  return answered;
}

/**
 * Sends `perSecond` requests a second for `seconds`, evenly spread. A request that finds every connection busy waits, and its
 * wait counts.
 * @returns milliseconds from when each request was due to its answer, in ascending order
 */
export async function openLoop(load: Load, perSecond: number, seconds: number): Promise<Float64Array> {
  const total = Math.floor(perSecond * seconds);
  const latencies = new Float64Array(total);
  const idle = [...load.connections];
  const startMs = performance.now();
  let due = 0;
  let sent = 0;
  let answered = 0;
  await new Promise<void>((resolve, reject) => {
    const serve = (): void => {
      while (sent < due && idle.length > 0) {
        const index = sent++;
        const connection = idle.pop()!;
        connection.send(load.request(index)).then((answer) => {
          latencies[index] = performance.now() - (startMs + (index * 1_000) / perSecond);
          idle.push(connection);
          load.onAnswer?.(index, answer);
          if (++answered === total) {
            clearInterval(pace);
            resolve();
          } else {
            serve();
          }
        }, reject);
      }
    };
    const pace = setInterval(() => {
      due = Math.min(total, Math.floor(((performance.now() - startMs) * perSecond) / 1_000));
      serve();
    }, PACE_EVERY_MS);
  });
  return latencies.sort();
}
