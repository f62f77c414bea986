/**
 * Every error a user can meet, with its HTTP status and CLI exit code. Codes are stable and never reused.
 * Exit codes: 1 unexpected, 2 wrong usage or input, 3 not found, 4 refused by state or conflict, 5 cannot reach, 6 host cannot.
 */
export const ERRORS = {
  SHOAL_E_INTERNAL: { status: 500, exitCode: 1, title: 'Unexpected internal error' },
  SHOAL_E_USAGE: { status: 400, exitCode: 2, title: 'Wrong usage' },
  SHOAL_E_MANIFEST: { status: 400, exitCode: 2, title: 'The manifest is not valid' },
  SHOAL_E_BODY: { status: 400, exitCode: 2, title: 'The request body is not valid' },
  SHOAL_E_BODY_TOO_LARGE: { status: 413, exitCode: 2, title: 'The request body is too large' },
  SHOAL_E_NAME: { status: 400, exitCode: 2, title: 'The name is not valid' },
  SHOAL_E_UNAUTHORIZED: { status: 401, exitCode: 4, title: 'A valid token is needed' },
  SHOAL_E_ROLE: { status: 403, exitCode: 4, title: 'The token does not allow this' },
  SHOAL_E_NOT_FOUND: { status: 404, exitCode: 3, title: 'No such thing' },
  SHOAL_E_CONFLICT: { status: 409, exitCode: 4, title: 'Refused in the present state' },
  SHOAL_E_NOT_LEADER: { status: 503, exitCode: 5, title: 'This coordinator does not lead' },
  SHOAL_E_UNREACHABLE: { status: 503, exitCode: 5, title: 'Cannot reach the other side' },
  SHOAL_E_HOST: { status: 501, exitCode: 6, title: 'This host cannot do that' },
  SHOAL_E_STORE: { status: 500, exitCode: 1, title: 'The store failed' },
  SHOAL_E_STORE_AWAY: { status: 503, exitCode: 5, title: 'The store cannot be reached' },
  SHOAL_E_START: { status: 500, exitCode: 1, title: 'The instance could not be started' },
  SHOAL_E_FRAME: { status: 400, exitCode: 1, title: 'A peer broke the protocol' },
  SHOAL_E_DEADLINE: { status: 504, exitCode: 1, title: 'The deadline passed' },
  SHOAL_E_CANCELLED: { status: 499, exitCode: 1, title: 'The caller cancelled' },
  SHOAL_E_NO_INSTANCE: { status: 503, exitCode: 1, title: 'The component has no instance that serves' },
  SHOAL_E_NOT_GRANTED: { status: 403, exitCode: 1, title: 'The manifest does not grant this call' },
  SHOAL_E_PEER_DIED: { status: 502, exitCode: 1, title: 'The peer died during the call' },
  SHOAL_E_RATE: { status: 429, exitCode: 1, title: 'Asked too often' },
  SHOAL_E_OVERLOADED: { status: 429, exitCode: 1, title: 'Too many calls in flight' },
  SHOAL_E_NO_HANDLER: { status: 404, exitCode: 1, title: 'The component has no such handler' },
  SHOAL_E_NO_STREAM: { status: 400, exitCode: 1, title: 'The handler and the call do not both mean a stream' },
  SHOAL_E_HANDLER: { status: 500, exitCode: 1, title: 'The handler threw' },
  SHOAL_E_STATE_MODE: { status: 400, exitCode: 2, title: "The component's state cannot do that" },
  SHOAL_E_STATE_SIZE: { status: 413, exitCode: 2, title: 'The key or value is too large' },
  SHOAL_E_STATE_FULL: { status: 507, exitCode: 4, title: 'The state shard is full' },
  SHOAL_E_STATE_DAMAGED: { status: 500, exitCode: 1, title: 'The state shard cannot be read' },
  SHOAL_E_SHARD_MOVED: { status: 409, exitCode: 1, title: 'The state shard is not here' },
} as const;

export type ErrorCode = keyof typeof ERRORS;

/** An error with a stable code. `detail` says what is wrong, where, and what to do. */
export class ShoalError extends Error {
  constructor(
    readonly code: ErrorCode,
    detail: string,
    options?: { cause?: unknown },
  ) {
    super(detail, options);
    this.name = 'ShoalError';
  }
  get status(): number {
    return ERRORS[this.code].status;
  }
  get exitCode(): number {
    return ERRORS[this.code].exitCode;
  }
}

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(ERRORS, value);
}

/** The error as a ShoalError; anything unknown becomes SHOAL_E_INTERNAL with its cause kept. */
export function toShoalError(error: unknown): ShoalError {
  if (error instanceof ShoalError) return error;
  return new ShoalError('SHOAL_E_INTERNAL', error instanceof Error ? error.message : String(error), { cause: error });
}
