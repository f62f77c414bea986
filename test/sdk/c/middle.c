/* Answers calls, and makes calls of its own to answer them: the other end of test/sdk/c-client.slow.test.ts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shoal.h"

static shoal_app *app;

static void echo(void *context, shoal_request *request) {
  (void)context;
  size_t length = 0;
  const void *body = shoal_body(request, &length);
  shoal_reply(request, body, length);
}

static void fails(void *context, shoal_request *request) {
  (void)context;
  shoal_fail(request, shoal_key(request) == NULL ? "no key" : shoal_key(request));
}

static void passed(void *context, const shoal_outcome *outcome) {
  shoal_request *request = context;
  char detail[512];
  if (outcome->code == NULL) {
    shoal_reply(request, outcome->body, outcome->length);
    return;
  }
  snprintf(detail, sizeof detail, "%s: %s", outcome->code, outcome->detail);
  shoal_fail(request, detail);
}

/* Passes the call on to the component `far`, in the time that the caller still waits. */
static void pass(void *context, shoal_request *request) {
  size_t length = 0;
  const void *body = shoal_body(request, &length);
  shoal_call(app, "far", context, shoal_key(request), body, length, shoal_time_left(request), passed, request);
}

static void strange(void *context, shoal_request *request) {
  (void)context;
  shoal_call(app, "secret", "echo", NULL, "\xc0", 1, 0, passed, request);
}

/* Answered never: by the caller's deadline. */
static void silent(void *context, shoal_request *request) {
  (void)context;
  (void)request;
}

static void dies(void *context, shoal_request *request) {
  (void)context;
  (void)request;
  _exit(7);
}

int main(void) {
  char why[SHOAL_WHY_BYTES];
  app = shoal_connect(why);
  if (app == NULL) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  shoal_handle(app, "echo", echo, NULL);
  shoal_handle(app, "fails", fails, NULL);
  shoal_handle(app, "pass", pass, "echo");
  shoal_handle(app, "pass-silent", pass, "silent");
  shoal_handle(app, "pass-kept", pass, "kept");
  shoal_handle(app, "strange", strange, NULL);
  shoal_handle(app, "silent", silent, NULL);
  shoal_handle(app, "dies", dies, NULL);
  if (shoal_ready(app) != 0) {
    perror("shoal_ready");
    return 1;
  }
  const int code = shoal_run(app);
  shoal_close(app);
  return code;
}
