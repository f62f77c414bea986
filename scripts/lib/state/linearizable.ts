/**
 * Whether a recorded history of calls could have come from one copy that does one call after the other, each at some moment
 * between its begin and its end. The search of Wing and Gong (Testing and verifying concurrent objects, 1993) with the memory
 * of Lowe (Testing for linearizability, 2017): a set of calls that are done, with the state that they led to, is tried once.
 */
export interface RecordedCall<Input, Output> {
  beganAt: number;
  /** Infinity: nobody knows whether it was done; it may have been at any time since, or never. */
  endedAt: number;
  input: Input;
  /** Of no meaning without an end. */
  output: Output;
}

export interface Model<State, Input, Output> {
  initial: State;
  /** The state after the call; undefined when it could not have had this answer. `output` is undefined when it is open. */
  step(state: State, input: Input, output: Output | undefined): { state: State } | undefined;
  /** Whether the call leaves the same state whatever was before it. */
  overwrites(input: Input): boolean;
  /** Equal for equal states. */
  keyOf(state: State): string;
}

interface Edge<Input, Output> {
  call: RecordedCall<Input, Output>;
  number: number;
  isBegin: boolean;
  before: Edge<Input, Output> | null;
  after: Edge<Input, Output> | null;
  end: Edge<Input, Output> | null;
}

export function isLinearizable<State, Input, Output>(
  calls: readonly RecordedCall<Input, Output>[],
  model: Model<State, Input, Output>,
): boolean {
  const head = edgesOf(calls);
  let open = calls.filter((call) => call.endedAt !== Number.POSITIVE_INFINITY).length;
  let state = model.initial;
  let done = 0n;
  const tried = new Set<string>();
  const stack: { edge: Edge<Input, Output>; state: State }[] = [];
  let edge = head.after;
  for (;;) {
    if (open === 0) return true;
    if (edge?.isBegin === true) {
      const next = tryCall(edge);
      if (next !== null) {
        stack.push({ edge, state });
        ({ state } = next);
        done |= 1n << BigInt(edge.number);
        if (isKnown(edge)) open -= 1;
        lift(edge);
        edge = head.after;
      } else edge = edge.after;
      continue;
    }
    // The end of a call that has not been done, or nothing left to try: the last one done was the wrong one.
    const last = stack.pop();
    if (last === undefined) return false;
    ({ state } = last);
    done &= ~(1n << BigInt(last.edge.number));
    if (isKnown(last.edge)) open += 1;
    put(last.edge);
    edge = last.edge.after;
  }

  function tryCall({ call, number }: Edge<Input, Output>): { state: State } | null {
    const known = call.endedAt !== Number.POSITIVE_INFINITY;
    // An open call is done for what comes after it: one that nobody sees might as well never be done.
    const last = stack.at(-1)?.edge;
    if (!known && model.overwrites(call.input) && last !== undefined && !isKnown(last)) return null;
    const next = model.step(state, call.input, known ? call.output : undefined);
    if (next === undefined) return null;
    const key = `${(done | (1n << BigInt(number))).toString(36)} ${model.keyOf(next.state)}`;
    if (tried.has(key)) return null;
    tried.add(key);
    return next;
  }
}

function isKnown<Input, Output>({ call }: Edge<Input, Output>): boolean {
  return call.endedAt !== Number.POSITIVE_INFINITY;
}

/** Begins and ends in the order of time; at the same moment begins come first. */
function edgesOf<Input, Output>(calls: readonly RecordedCall<Input, Output>[]): { after: Edge<Input, Output> | null } {
  const edges: (Edge<Input, Output> & { at: number })[] = [];
  for (const [number, call] of calls.entries()) {
    const links = { before: null, after: null, end: null };
    const begin = { call, number, isBegin: true, at: call.beganAt, ...links };
    edges.push(begin);
    if (call.endedAt === Number.POSITIVE_INFINITY) continue;
    const end = { call, number, isBegin: false, at: call.endedAt, ...links };
    Object.assign(begin, { end });
    edges.push(end);
  }
  edges.sort((a, b) => a.at - b.at || Number(b.isBegin) - Number(a.isBegin));
  const head = { after: null } as unknown as Edge<Input, Output>;
  let last = head;
  for (const edge of edges) {
    edge.before = last;
    last.after = edge;
    last = edge;
  }
  return head;
}

/** Takes the call out of the list; put() is its opposite, in the opposite order. */
function lift<Input, Output>(begin: Edge<Input, Output>): void {
  for (const edge of begin.end === null ? [begin] : [begin, begin.end]) {
    if (edge.before !== null) edge.before.after = edge.after;
    if (edge.after !== null) edge.after.before = edge.before;
  }
}

function put<Input, Output>(begin: Edge<Input, Output>): void {
  for (const edge of begin.end === null ? [begin] : [begin.end, begin]) {
    if (edge.before !== null) edge.before.after = edge;
    if (edge.after !== null) edge.after.before = edge;
  }
}
