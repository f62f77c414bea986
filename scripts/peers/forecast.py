"""Forecasts of statsmodels. Arguments: a file of series, one a line as id,v1,v2,…; steps; names of methods. Prints a line
of JSON for each series and method. Run by scripts/bench brain-forecast."""

import json
import sys
import time
import warnings

import numpy as np
from statsmodels.tsa.holtwinters import ExponentialSmoothing

warnings.simplefilter("ignore")
steps = int(sys.argv[2])
METHODS = {
    "ExponentialSmoothing": {"trend": "add", "seasonal": "add"},
    "damped": {"trend": "add", "damped_trend": True, "seasonal": "add"},
}
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        name, *values = line.strip().split(",")
        y = np.array(values, dtype=float)
        for method in sys.argv[3:]:
            start = time.perf_counter()
            mean = ExponentialSmoothing(y, seasonal_periods=24, **METHODS[method]).fit().forecast(steps)
            seconds = time.perf_counter() - start
            row = {"id": name, "method": method, "seconds": round(seconds, 4), "mean": [float(f"{x:.10g}") for x in mean]}
            print(json.dumps(row), flush=True)
