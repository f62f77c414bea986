import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { FabricRequest, FabricResponse } from '../../protocol/control.js';
import { decodeBody, encodeBody } from '../../protocol/frame.js';
import { decodeMessage, encodeMessage } from '../../sdk/call-frames.js';

const buffer = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const body = fc.oneof(buffer, fc.jsonValue(), fc.constant(undefined), fc.double({ noNaN: true }));
const id = fc.oneof(fc.nat(), fc.constantFrom(0, 0xffff_ffff, 2 ** 32, 2 ** 40, -1));
const call = fc.record(
  {
    type: fc.constant('call' as const),
    id,
    handler: fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'binary', maxLength: 300 })),
    deadlineMs: fc.double({ min: 0.001, max: 600_000 }),
    body,
    key: fc.string(),
    shards: fc.array(fc.nat(63)),
    input: fc.constant(true),
    stream: fc.nat(),
  },
  { requiredKeys: ['type', 'id', 'handler', 'body'] },
);
const result = fc.record({ type: fc.constant('result' as const), id, outstanding: fc.nat(), body });
const message: fc.Arbitrary<FabricRequest | FabricResponse> = fc.oneof(call, result);

/** What comes of bytes: a value, or that they are none. */
function outcome(decode: () => unknown): unknown {
  try {
    return { value: decode() };
  } catch (error) {
    return { code: (error as { code: unknown }).code };
  }
}

t.test('a message reads as it was written, by who knows the short way and by who does not', async () => {
  fc.assert(
    fc.property(message, (sent) => {
      const bytes = encodeMessage(sent);
      const usual = decodeBody(encodeBody(sent));
      deepStrictEqual(decodeBody(bytes), usual);
      deepStrictEqual(decodeMessage(Buffer.concat([bytes, Buffer.alloc(9, 0xc0)]), bytes.length), usual);
      deepStrictEqual(decodeMessage(Buffer.from(encodeBody(sent)), encodeBody(sent).length), usual);
    }),
  );
});

t.test('bytes that were changed read as they do the usual way, or are refused as they are there', async () => {
  const change = fc.record({ at: fc.nat(), byte: fc.nat(255), end: fc.option(fc.nat()) });
  fc.assert(
    fc.property(message, fc.array(change, { minLength: 1, maxLength: 3 }), (sent, changes) => {
      const bytes = Buffer.from(encodeMessage(sent));
      let { length } = bytes;
      for (const { at, byte, end } of changes) {
        bytes[at % bytes.length] = byte;
        if (end !== null) length = 1 + (end % bytes.length);
      }
      const usual = outcome(() => decodeBody(Buffer.from(bytes.subarray(0, length))));
      deepStrictEqual(
        outcome(() => decodeMessage(bytes, length)),
        usual,
      );
    }),
    { numRuns: 500 },
  );
});

t.test('what is read keeps nothing of the bytes it came from', async (t) => {
  const bytes = Buffer.from(encodeMessage({ type: 'result', id: 1, outstanding: 0, body: Buffer.from('abc') }));
  const { body } = decodeMessage(bytes, bytes.length) as { body: Buffer };
  bytes.fill(0);
  t.equal(body.toString(), 'abc');
});

t.test('what is too long is refused, whatever its shape', async (t) => {
  const body = 'x'.repeat(17 * 1024 * 1024);
  t.throws(() => encodeMessage({ type: 'result', id: 1, outstanding: 0, body }), { code: 'SHOAL_E_FRAME' });
  t.throws(() => encodeMessage({ type: 'call', id: 1, handler: 'h', deadlineMs: 1, body }), { code: 'SHOAL_E_FRAME' });
});
