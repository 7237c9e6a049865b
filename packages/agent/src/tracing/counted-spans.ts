/**
 * Between the spans that end and the collector: counts what was sent and what was dropped, because the batches' own queue
 * drops without a word.
 *
 *   span ends ──► before() ──► batches ──► export() ──► collector
 *                   └ queue is full: dropped  └ not taken in time: dropped
 */
import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import type { ReadableSpan, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace';

/** `queue`: more ended than could be sent. `export`: the collector did not take them. */
export type DropCause = 'queue' | 'export';

export interface CountedSpansEvents {
  onSent(count: number): void;
  onDropped(cause: DropCause, count: number): void;
}

export class CountedSpans implements SpanExporter {
  readonly #maxQueued: number;
  readonly #dependencies: CountedSpansEvents & { exporter: SpanExporter };
  #queued = 0;

  constructor(options: { maxQueued: number }, dependencies: CountedSpansEvents & { exporter: SpanExporter }) {
    this.#maxQueued = options.maxQueued;
    this.#dependencies = dependencies;
  }

  /** What ended spans are given to; those that `batches` has no room for go no further. */
  before(batches: SpanProcessor): SpanProcessor {
    return {
      onStart: (span, parent) => batches.onStart(span, parent),
      onEnd: (span) => {
        if (this.#queued >= this.#maxQueued) {
          this.#dependencies.onDropped('queue', 1);
          return;
        }
        this.#queued++;
        batches.onEnd(span);
      },
      forceFlush: () => batches.forceFlush(),
      shutdown: () => batches.shutdown(),
    };
  }

  export(spans: ReadableSpan[], resultCallback: (result: ExportResult) => void): void {
    this.#queued -= spans.length;
    const { exporter, onSent, onDropped } = this.#dependencies;
    exporter.export(spans, (result) => {
      if (result.code === ExportResultCode.SUCCESS) onSent(spans.length);
      else onDropped('export', spans.length);
      resultCallback(result);
    });
  }

  shutdown(): Promise<void> {
    return this.#dependencies.exporter.shutdown();
  }

  async forceFlush(): Promise<void> {
    await this.#dependencies.exporter.forceFlush?.();
  }
}
