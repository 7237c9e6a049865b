/** Where a tracker keeps what must outlive its process: keys with values that are JSON. One process writes it at a time. */
export interface Shelf {
  /** Whatever begins so, in no order. */
  entries(prefix: string): AsyncIterable<[key: string, value: unknown]>;
  /** Kept for good when it resolves. */
  put(key: string, value: unknown): Promise<void>;
  /** Undefined removes the key. What fails may be written in part: whoever writes it again writes all of it. */
  write(values: ReadonlyMap<string, unknown>): Promise<void>;
  close(): Promise<void>;
}
