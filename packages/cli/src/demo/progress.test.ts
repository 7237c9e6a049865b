import { expect, test } from 'vitest';
import { type NodeProgress, ProgressDisplay, progressLines } from './progress.ts';

const MB = 1_000_000;
const HALF: NodeProgress = { node: 'node-1', receivedBytes: 50 * MB, totalBytes: 100 * MB, state: 'pulling' };

function output(isTTY: boolean): { isTTY: boolean; text: string; write(text: string): void } {
  return {
    isTTY,
    text: '',
    write(text) {
      this.text += text;
    },
  };
}

test('a line has the share, the bytes and where they come from', () => {
  expect(progressLines([{ ...HALF, sources: { peers: 40 * MB, origin: 10 * MB } }])).toEqual([
    'node-1  ████████░░░░░░░░  50 %  50.0 MB  (fetched: peers 40.0 MB, origin 10.0 MB)',
  ]);
});

test('100 % is shown only for everything', () => {
  expect(progressLines([{ ...HALF, receivedBytes: 100 * MB - 1 }])[0]).toContain(' 99 %');
  expect(progressLines([{ ...HALF, receivedBytes: 100 * MB }])[0]).toContain('100 %');
});

test('more nodes than lines become one line', () => {
  const nodes = Array.from(
    { length: 64 },
    (_, index): NodeProgress => ({
      ...HALF,
      state: index < 3 ? 'done' : 'pulling',
    }),
  );
  expect(progressLines(nodes)).toEqual(['64 nodes  ████████░░░░░░░░  50 %  3200.0 MB, 3 done']);
});

test('a terminal is redrawn in place', () => {
  const terminal = output(true);
  const display = new ProgressDisplay(terminal, () => [HALF, HALF]);
  display.draw();
  terminal.text = '';
  display.finish();
  expect(terminal.text.startsWith('\u001b[2A\r\u001b[2K')).toBe(true);
});

test('elsewhere a line is repeated only when it changed, without control characters', () => {
  const log = output(false);
  const display = new ProgressDisplay(log, () => [HALF]);
  display.draw();
  const once = log.text;
  display.finish();
  expect(log.text).toBe(once);
  expect(log.text).not.toContain('\u001b');
});
