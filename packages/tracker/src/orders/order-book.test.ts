import type { PrefetchOrder, PrefetchRequest } from '@shoal/wire';
import { MAX_ORDER_NODES } from '@shoal/wire';
import { describe, expect, test } from 'vitest';
import {
  ORDER_EXPIRES_MS,
  ORDER_KEPT_MS,
  type OrderableAgent,
  OrderBook,
  type OrderBookOptions,
} from './order-book.ts';

const IMAGE: PrefetchRequest = { images: ['r.test/org/app:v1'] };
const nothing = { doneBytes: 0, fromPeers: 0, fromOrigin: 0 };

function agent(name: string, more: Partial<OrderableAgent> = {}): OrderableAgent {
  return { peerId: `id-${name}`, zone: 'a', name, takesOrders: true, ...more };
}

function setUp(agents: OrderableAgent[], options: OrderBookOptions = {}) {
  const suspended = new Set<string>();
  let count = 0;
  const book = new OrderBook(options, {
    newId: () => `order-${++count}`,
    agents: () => agents,
    isSuspended: (peerId) => suspended.has(peerId),
  });
  return { book, suspended };
}

const statesOf = ({ nodes }: PrefetchOrder) => Object.fromEntries(nodes.map(({ name, state }) => [name, state]));
const now = (book: OrderBook, id = 'order-1'): PrefetchOrder => book.find(id) ?? expect.fail(`no ${id}`);

test('an order is told to each node until it says something, and ends when all have', () => {
  const { book } = setUp([agent('one'), agent('two')]);
  const order = book.place('id-one', { ...IMAGE, platform: 'all', bytesPerSecond: 5e6 }, 0);
  expect(order).toMatchObject({ id: 'order-1', orderedBy: 'one', state: 'open', platform: 'all', bytesPerSecond: 5e6 });
  expect(book.hasNews('id-two', 0)).toBe(true);
  expect(book.tasks('id-two')).toEqual([{ id: 'order-1', ...IMAGE, platform: 'all', bytesPerSecond: 5e6 }]);
  const said = { id: 'order-1', ...nothing, totalBytes: 100 };
  expect(book.progress('id-two', { ...said, state: 'fetching', doneBytes: 50, fromPeers: 50 }, 1)).toEqual({
    wanted: true,
  });
  expect(book.hasNews('id-two', 2)).toBe(false);
  book.progress('id-two', { ...said, state: 'done', doneBytes: 100, fromPeers: 100 }, 3);
  expect(book.tasks('id-two')).toEqual([]);
  expect(now(book).state).toBe('open');
  book.progress('id-one', { ...said, state: 'failed', reason: 'no room' }, 4);
  expect(now(book)).toMatchObject({
    state: 'ended',
    nodes: [
      { name: 'one', state: 'failed', reason: 'no room' },
      { name: 'two', state: 'done', doneBytes: 100, fromPeers: 100 },
    ],
  });
  expect(book.list()).toMatchObject([{ id: 'order-1', waiting: 0, fetching: 0, done: 1, failed: 1 }]);
});

test('a node that falls silent while it fetches is told again: it may have restarted', () => {
  const { book } = setUp([agent('one')]);
  book.place('id-one', IMAGE, 0);
  book.progress('id-one', { id: 'order-1', state: 'fetching', ...nothing }, 0);
  expect(book.hasNews('id-one', 14_999)).toBe(false);
  expect(book.hasNews('id-one', 15_000)).toBe(true);
});

describe('which nodes', () => {
  const agents = [agent('one'), agent('two', { zone: 'b' }), agent('old', { name: undefined, takesOrders: false })];

  test('all, a zone, or names and PeerIds; what is not there is told as such at once', () => {
    const { book } = setUp(agents);
    expect(statesOf(book.place('id-one', IMAGE, 0))).toEqual({ one: 'waiting', two: 'waiting', 'id-old': 'failed' });
    expect(statesOf(book.place('id-one', { ...IMAGE, zone: 'b' }, 0))).toEqual({ two: 'waiting' });
    const named = book.place('id-one', { ...IMAGE, names: ['id-two', 'three'] }, 0);
    expect(statesOf(named)).toEqual({ two: 'waiting', three: 'failed' });
    expect(named.nodes[1]?.reason).toContain('no agent of this name is there');
    expect(() => book.place('id-one', { ...IMAGE, zone: 'c' }, 0)).toThrow('no agent is there in that zone');
  });

  test('an order for nodes that are all away is over at once', () => {
    const { book } = setUp(agents);
    expect(book.place('id-one', { ...IMAGE, names: ['three', 'old'] }, 0).state).toBe('ended');
    expect(book.openCount).toBe(0);
  });
});

test('a node that is gone, and one that stopped, fail; the others go on', () => {
  const { book } = setUp([agent('one'), agent('two')]);
  book.place('id-one', IMAGE, 0);
  book.gone('id-two', 'the agent was stopped', 1);
  expect(statesOf(now(book))).toEqual({ one: 'waiting', two: 'failed' });
  expect(book.progress('id-two', { id: 'order-1', state: 'fetching', ...nothing }, 2)).toEqual({ wanted: false });
});

test('who fetches for a cancelled order hears that it is not wanted, and what was done stays done', () => {
  const { book } = setUp([agent('one'), agent('two')]);
  book.place('id-one', IMAGE, 0);
  book.progress('id-two', { id: 'order-1', state: 'done', ...nothing }, 1);
  expect(book.cancel('order-1', 2)).toMatchObject({ state: 'cancelled' });
  expect(statesOf(now(book))).toEqual({ one: 'failed', two: 'done' });
  expect(book.progress('id-one', { id: 'order-1', state: 'fetching', ...nothing }, 3)).toEqual({ wanted: false });
  expect([book.hasNews('id-one', 3), book.tasks('id-one')]).toEqual([false, []]);
  expect(book.cancel('nope', 3)).toBeUndefined();
});

test('suspended members give no orders and get none; what a barred one ordered is not done', () => {
  const { book, suspended } = setUp([agent('one'), agent('two')]);
  book.place('id-two', IMAGE, 0);
  suspended.add('id-two');
  expect(() => book.place('id-two', IMAGE, 1)).toThrow(expect.objectContaining({ code: 'SUSPENDED' }));
  expect([book.hasNews('id-two', 1), book.tasks('id-two')]).toEqual([false, []]);
  expect(statesOf(book.place('id-one', IMAGE, 1))).toEqual({ one: 'waiting', two: 'failed' });
  book.distrust('id-two', 2);
  expect(now(book)).toMatchObject({ state: 'cancelled', nodes: [{ state: 'failed' }, { state: 'failed' }] });
  expect(now(book, 'order-2').state).toBe('open');
});

describe('bounds', () => {
  test('in time: without progress an order expires; an ended one is forgotten later', () => {
    const { book } = setUp([agent('one')]);
    book.place('id-one', IMAGE, 0);
    book.progress('id-one', { id: 'order-1', state: 'fetching', ...nothing, doneBytes: 1 }, 1_000);
    book.progress('id-one', { id: 'order-1', state: 'fetching', ...nothing, doneBytes: 1 }, 5_000);
    book.expire(ORDER_EXPIRES_MS);
    expect(now(book).state).toBe('open');
    book.expire(ORDER_EXPIRES_MS + 1_000);
    expect(now(book)).toMatchObject({
      state: 'expired',
      nodes: [{ state: 'failed', reason: expect.stringContaining('hour') }],
    });
    book.expire(ORDER_EXPIRES_MS + 1_000 + ORDER_KEPT_MS);
    expect(book.find('order-1')).toBeUndefined();
  });

  test('in number: ended ones make room, open ones do not', () => {
    const { book } = setUp([agent('one'), agent('two')], { maxOrders: 3, maxOpenPerMember: 2 });
    book.place('id-one', IMAGE, 0);
    book.place('id-one', IMAGE, 0);
    expect(() => book.place('id-one', IMAGE, 0)).toThrow(expect.objectContaining({ code: 'TOO_MANY_REQUESTS' }));
    book.place('id-two', IMAGE, 0);
    expect(() => book.place('id-two', IMAGE, 0)).toThrow(expect.objectContaining({ code: 'TOO_MANY_REQUESTS' }));
    book.cancel('order-2', 1);
    book.place('id-two', IMAGE, 2);
    expect(book.list().map(({ id }) => id)).toEqual(['order-4', 'order-3', 'order-1']);
  });

  test('in nodes: of all orders together, and of one', () => {
    const { book } = setUp([agent('one'), agent('two')], { maxEntries: 3 });
    book.place('id-one', IMAGE, 0);
    expect(() => book.place('id-one', IMAGE, 0)).toThrow(expect.objectContaining({ code: 'TOO_MANY_REQUESTS' }));
    book.cancel('order-1', 1);
    book.place('id-one', IMAGE, 2);
    const many = setUp(Array.from({ length: MAX_ORDER_NODES + 1 }, (_, index) => agent(`node-${index}`)));
    expect(() => many.book.place('id-one', IMAGE, 0)).toThrow('order by zone or by name');
  });
});
