/** What `origin.check` found, as it is told to others: without causes, which may name what is nobody's business. */
import { type OriginClient, OriginError, type OriginErrorCode, type RegistryLogin } from '../origin/origin-client.ts';

/** The admin address cuts connections that are silent for longer than 5 s. */
const WITHIN_MS = 4_500;
const MAX_CAUSES = 8;

export interface RegistryFinding {
  registry: string;
  url?: string;
  outcome: RegistryLogin | OriginErrorCode;
  /** Of failures. */
  message?: string;
  /** The system's or TLS's code, e.g. `ENOTFOUND`. */
  cause?: string;
  status?: number;
}

/** Never rejects but when it is told to stop. */
export async function findRegistry(
  origin: Pick<OriginClient, 'check'>,
  registry: string,
  signal: AbortSignal,
  withinMs: number = WITHIN_MS,
): Promise<RegistryFinding> {
  const late = AbortSignal.timeout(withinMs);
  try {
    const call = { signal: AbortSignal.any([signal, late]), pullId: 'doctor' };
    const { url, login } = await origin.check(registry, call);
    return { registry, url, outcome: login };
  } catch (error) {
    if (!(error instanceof OriginError) || signal.aborted) throw error;
    if (late.aborted) {
      return { registry, outcome: 'timeout', message: `${registry} did not answer within ${withinMs / 1_000} s` };
    }
    const { code, message, status } = error;
    const cause = causeOf(error);
    return {
      registry,
      outcome: code,
      message,
      ...(cause === undefined ? {} : { cause }),
      ...(status === undefined ? {} : { status }),
    };
  }
}

function causeOf(error: Error): string | undefined {
  let at: unknown = error.cause;
  for (let depth = 0; depth < MAX_CAUSES && at instanceof Error; depth++) {
    if ('code' in at && typeof at.code === 'string' && !(at instanceof OriginError)) return at.code;
    at = at.cause;
  }
  return undefined;
}
