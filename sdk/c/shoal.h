#ifndef SHOAL_H
#define SHOAL_H
/*
 * What a component that is not written for Node links: libshoal.a. It serves calls, makes calls, and tells the agent
 * how it is doing, over the same channels as the SDK for Node (docs/fabric.md).
 *
 *     static void upper(void *context, shoal_request *request) { ... shoal_reply(request, bytes, length); }
 *
 *     char why[SHOAL_WHY_BYTES];
 *     shoal_app *app = shoal_connect(why);
 *     if (app == NULL) { fprintf(stderr, "%s\n", why); return 1; }
 *     shoal_handle(app, "upper", upper, NULL);
 *     shoal_ready(app);
 *     return shoal_run(app);
 *
 * Bodies of calls and answers are one msgpack value each, written and read by a library of your choice.
 *
 * All functions are to be called from one thread, that of shoal_run(), and all callbacks come from there. A callback
 * must not wait. Strings end with a zero; strings and bytes that a callback gets are valid until it returns. From
 * shoal_connect() on SIGPIPE is ignored and SIGTERM and SIGINT make the instance leave in good order.
 */
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHOAL_WHY_BYTES 256

typedef struct shoal_app shoal_app;
/* A call that came in. It is there until it is answered, once, by shoal_reply() or shoal_fail(), now or later. */
typedef struct shoal_request shoal_request;

typedef void (*shoal_handler)(void *context, shoal_request *request);

/* How a call went: `code` is NULL with the answer in `body`, else one of the codes of docs/sdk.md, with what is wrong.
 */
typedef struct {
  const char *code;
  const char *detail;
  const void *body;
  size_t length;
} shoal_outcome;
typedef void (*shoal_answered)(void *context, const shoal_outcome *outcome);

/* Connects this process to the agent of its host. NULL, and the reason in `why` (SHOAL_WHY_BYTES), outside of an
 * instance. */
shoal_app *shoal_connect(char *why);
/* Closes all connections at once, without waiting for calls; those of this instance are answered with
 * SHOAL_E_CANCELLED. */
void shoal_close(shoal_app *app);

/* Registers what others can call by this name, before shoal_ready(). */
void shoal_handle(shoal_app *app, const char *name, shoal_handler handler, void *context);
/* Begins to serve and says so. 0, or -1 and errno when the sockets of the instance cannot be opened. */
int shoal_ready(shoal_app *app);

/* Works until the instance has left; what the process should exit with. */
int shoal_run(shoal_app *app);
/* For an event loop of your own: waits for work at most so many ms (-1: without end) and does it. 0 once it has left.
 */
int shoal_step(shoal_app *app, int timeout_ms);
/* Readable when shoal_step() has something to do. Call it at least every 20 ms all the same: deadlines pass in silence.
 */
int shoal_fd(const shoal_app *app);

/*
 * Calls a handler of one instance of the component: with a key (else NULL) the owner of its state shard, else the less
 * loaded one of two. `answered` is called once, at the latest after deadline_ms (0: 5000).
 */
void shoal_call(shoal_app *app, const char *component, const char *handler, const char *key, const void *body,
                size_t length, double deadline_ms, shoal_answered answered, void *context);

const void *shoal_body(const shoal_request *request, size_t *length);
/* NULL when the caller gave none. */
const char *shoal_key(const shoal_request *request);
/* Milliseconds that the caller still waits; 0 when it has given up. */
double shoal_time_left(const shoal_request *request);
void shoal_reply(shoal_request *request, const void *body, size_t length);
/* Fails the call with SHOAL_E_HANDLER. */
void shoal_fail(shoal_request *request, const char *detail);

#ifdef __cplusplus
}
#endif
#endif
