# Writes what R's smoothing says of a short series for given parameters and initial states, as JSON on standard output.
# Run by scripts/golden/make.
suppressMessages(library(forecast))

n <- 60
m <- 6
horizon <- 15
t <- 1:n
y <- round(80 + 0.7 * t + 12 * sin(2 * pi * t / m) + 5 * cos(2 * pi * t / 12) + 6 * sin(1.7 * t * t), 2)

number <- function(x) paste0("[", paste(sprintf("%.17g", as.numeric(x)), collapse = ","), "]")
object <- function(...) {
  parts <- list(...)
  paste0("{", paste(sprintf('"%s":%s', names(parts), parts), collapse = ","), "}")
}
text <- function(x) sprintf('"%s"', x)

alpha <- 0.31
beta <- 0.12 # share of the change of level; ets has alpha times this
gamma <- 0.23
phi <- 0.93
level <- 85.5
trend <- 0.6
sigma2 <- c(A = 20, M = 0.004)
offsets <- c(10, 12, -1, -11, -9, -1)
factors <- c(1.1, 1.15, 0.98, 0.87, 0.9, 1)

cases <- c()
add <- function(...) cases <<- c(cases, object(...))

# The state-space forms behind ets, hw, holt and ses.
for (error in c("A", "M")) for (growth in c("N", "A", "Ad")) for (season in c("N", "A", "M")) {
  damped <- growth == "Ad"
  kind <- substr(growth, 1, 1)
  start <- level
  if (kind != "N") start <- c(start, trend)
  first <- switch(season, N = c(), A = offsets, M = factors)
  start <- c(start, rev(first))
  out <- forecast:::pegelsresid.C(ts(y, frequency = m), m, start, error, kind, season, damped, alpha,
    alpha * beta, gamma, if (damped) phi else 1, 1)
  fitted <- if (error == "A") y - out$e else y / (1 + out$e)
  last <- out$states[n + 1, ]
  par <- c(alpha = alpha, beta = alpha * beta, gamma = gamma, phi = phi)
  # What forecast.ets asks. Left out, since forecast 8.20 errs there: the variance of a season without trend, whose gamma
  # class1 gives to the wrong place of the state (compared with statsmodels instead); and a damped trend with factors,
  # where class3 damps the trend one step late and etsforecast takes phi twice in place of phi and its square (means are
  # compared with statsmodels, the variance with simulated futures in fit.test.ts).
  analytic <- NULL
  if (season != "M") {
    how <- if (error == "A") forecast:::class1 else forecast:::class2
    analytic <- how(horizon, last, kind, season, damped, m, sigma2[[error]], par)
  } else if (error == "M" && !damped) {
    analytic <- forecast:::class3(horizon, last, kind, season, damped, m, sigma2[[error]], par)
  }
  mean <- if (season != "M") analytic$mu
    else if (damped) c()
    else .C("etsforecast", as.double(last), as.integer(m), as.integer(kind == "A"), as.integer(2), as.double(1),
      as.integer(horizon), as.double(numeric(horizon)), PACKAGE = "forecast")[[7]]
  variance <- if (is.null(analytic) || (kind == "N" && season == "A")) "null" else number(analytic$var)
  add(by = text("ets"), error = text(error), trend = text(growth), season = text(season), start = number(first),
    fitted = number(fitted), level = number(out$states[-1, 1]),
    slope = if (kind == "N") "[]" else number(out$states[-1, 2]),
    last = if (season == "N") "[]" else number(rev(last[(length(last) - m + 1):length(last)])),
    mean = number(mean), variance = variance)
}

# hw(initial = "simple").
for (season in c("additive", "multiplicative")) for (damping in c(1, phi)) {
  first <- if (season == "additive") offsets else factors
  out <- forecast:::zzhw(y, n, alpha, beta, gamma, season, m, TRUE, TRUE, level, FALSE, damping, trend, first)
  add(by = text("hw"), trend = text(if (damping < 1) "Ad" else "A"), season = text(substr(toupper(season), 1, 1)),
    start = number(first), fitted = number(out$fitted), level = number(out$level[-1]), slope = number(out$trend[-1]),
    last = number(out$season[n + 1:m]), mean = "[]", variance = "null")
}

# stats::HoltWinters, whose season learns from the level that has just been updated.
for (season in c("additive", "multiplicative")) for (growth in c("N", "A")) {
  first <- if (season == "additive") offsets else factors
  known <- list(x = ts(y, frequency = m), alpha = alpha, beta = if (growth == "N") FALSE else beta, gamma = gamma,
    seasonal = season, l.start = level, s.start = first)
  if (growth == "A") known$b.start <- trend
  # It uses the first value, not the first season, as start: values begin after start.periods whole seasons.
  out <- do.call(HoltWinters, c(known, start.periods = 2))
  used <- length(out$fitted[, "xhat"])
  add(by = text("HoltWinters"), trend = text(growth), season = text(substr(toupper(season), 1, 1)),
    start = number(first), skipped = n - used, fitted = number(out$fitted[, "xhat"]),
    level = number(c(out$fitted[-1, "level"], out$coefficients["a"])),
    slope = if (growth == "N") "[]" else number(c(out$fitted[-1, "trend"], out$coefficients["b"])),
    last = number(out$coefficients[paste0("s", 1:m)]), mean = number(predict(out, horizon)), variance = "null")
}

# Taylor's double season.
for (correction in c(FALSE, TRUE)) {
  rho <- if (correction) 0.4 else 0
  out <- dshw(y, period1 = m, period2 = 2 * m, h = horizon, alpha = alpha, beta = beta, gamma = gamma, omega = 0.17,
    phi = rho, armethod = correction)
  model <- out$model
  add(by = text("dshw"), trend = text("A"), season = text("M"), rho = rho, omega = 0.17,
    startLevel = sprintf("%.17g", model$l0), startTrend = sprintf("%.17g", model$b0),
    start = number(forecast:::seasindex(y, m)), startLong = number(model$s10),
    fitted = number(out$fitted), mean = number(out$mean), variance = "null")
}

cat(object(series = number(y), m = m, horizon = horizon, alpha = alpha, beta = beta, gamma = gamma, phi = phi,
  level = level, trend = trend, varianceAdditive = sigma2[["A"]], varianceMultiplicative = sigma2[["M"]],
  cases = paste0("[\n", paste(cases, collapse = ",\n"), "\n]")))
cat("\n")
