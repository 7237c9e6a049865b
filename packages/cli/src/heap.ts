/**
 * How the heap of an agent is kept. Its garbage is buffers that bytes passed through: tiny on the heap, tens of kilobytes to a
 * megabyte beside it. Three of V8's defaults do not fit that:
 *
 * - With its young generation hundreds of them wait for a collection: with 1 MiB the peak of an agent that passes a blob from
 *   a peer to a client was 193 MiB instead of 248, at the same rate (`pnpm bench memory`).
 * - With its growing factor all of the heap is marked again for every dozen megabytes that pass, although it holds little but
 *   code. A factor of 2 saves a fifth of an agent's CPU in a crowd.
 * - Its collector's helper threads cost more than they save with a heap so small.
 *
 * It must run before the heap grows, so the program imports it first.
 */
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--max-semi-space-size=1');
setFlagsFromString('--semi-space-growth-factor=1');
setFlagsFromString('--heap-growing-percent=100');
setFlagsFromString('--single-threaded-gc');
