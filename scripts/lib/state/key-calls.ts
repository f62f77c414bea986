import { isLinearizable, type Model, type RecordedCall } from './linearizable.js';

/** Calls on one key that holds a number or nothing. */
export type KeyCall = { do: 'get' } | { do: 'set'; value: number } | { do: 'add'; value: number } | { do: 'delete' };
export type KeyAnswer = number | null;

/** What a call does to a value: the value after it and the answer. */
export function apply(value: KeyAnswer, call: KeyCall): { value: KeyAnswer; answer: KeyAnswer } {
  if (call.do === 'get') return { value, answer: value };
  if (call.do === 'set') return { value: call.value, answer: value };
  if (call.do === 'delete') return { value: null, answer: value };
  const sum = (value ?? 0) + call.value;
  return { value: sum, answer: sum };
}

export const REGISTER: Model<KeyAnswer, KeyCall, KeyAnswer> = {
  initial: null,
  step(state, call, output) {
    const { value, answer } = apply(state, call);
    return output === undefined || output === answer ? { state: value } : undefined;
  },
  overwrites: (call) => call.do === 'set' || call.do === 'delete',
  keyOf: String,
};

/** Reads that nobody heard the answer of say nothing and did nothing: with them the search would only be longer. */
export function areAsFromOneCopy(calls: readonly RecordedCall<KeyCall, KeyAnswer>[]): boolean {
  const telling = calls.filter(({ input, endedAt }) => input.do !== 'get' || endedAt !== Number.POSITIVE_INFINITY);
  return isLinearizable(telling, REGISTER);
}
