# Forecasts of R's methods. Arguments: a file of series, one a line as id,v1,v2,…; steps; names of methods. Prints a line
# of JSON for each series and method. Run by scripts/bench brain-forecast.
suppressMessages(library(forecast))
args <- commandArgs(trailingOnly = TRUE)
steps <- as.integer(args[2])
levels <- c(80, 95)
number <- function(x) paste0("[", paste(ifelse(is.finite(x), sprintf("%.10g", x), "null"), collapse = ","), "]")
bound <- function(out, side, i) if (is.null(out[[side]])) "null" else number(as.numeric(as.matrix(out[[side]])[, i]))

methods <- list(
  HoltWinters = function(y) forecast(HoltWinters(ts(y, frequency = 24)), h = steps, level = levels),
  hw = function(y) hw(ts(y, frequency = 24), h = steps, level = levels),
  dshw = function(y) dshw(y, period1 = 24, period2 = 168, h = steps),
  tbats = function(y) forecast(tbats(msts(y, seasonal.periods = c(24, 168)), use.parallel = FALSE), h = steps,
    level = levels)
)
for (line in readLines(args[1])) {
  fields <- strsplit(line, ",")[[1]]
  y <- as.numeric(fields[-1])
  for (name in args[-(1:2)]) {
    took <- system.time(out <- tryCatch(suppressWarnings(methods[[name]](y)), error = function(e) NULL))[["elapsed"]]
    if (is.null(out)) next
    cat(sprintf('{"id":"%s","method":"%s","seconds":%.4f,"mean":%s,"lower80":%s,"upper80":%s,"lower95":%s,"upper95":%s}\n',
      fields[1], name, took, number(as.numeric(out$mean)), bound(out, "lower", 1), bound(out, "upper", 1),
      bound(out, "lower", 2), bound(out, "upper", 2)))
  }
}
