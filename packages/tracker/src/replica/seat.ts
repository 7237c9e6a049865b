/** Where a call of the API is answered: in this process, or by the replica that leads. */
export interface Seat {
  /** Names what is known of the agents: they tell everything anew when it changes. */
  readonly instance: string;
  /** Whether calls can be answered, here or by another replica. */
  readonly ready: boolean;
  /** The answer, or a `PassedAnswer`. @throws what `here` throws, and ApiError when nobody leads */
  serve(call: ApiCall, here: () => unknown): unknown;
}

export interface ApiCall {
  path: string;
  /** As it came in, parsed. */
  body: unknown;
  authorization: string | undefined;
  /** Another replica passed it on, so it is answered here or not at all. */
  isPassed: boolean;
}

/** What another replica answered. */
export class PassedAnswer {
  readonly status: number;
  readonly instance: string;
  readonly text: string;
  constructor(status: number, instance: string, text: string) {
    this.status = status;
    this.instance = instance;
    this.text = text;
  }
}

/** A tracker without replicas. */
export class SoleSeat implements Seat {
  readonly instance: string;
  readonly ready = true;

  constructor(instance: string) {
    this.instance = instance;
  }

  serve(_call: ApiCall, here: () => unknown): unknown {
    return here();
  }
}
