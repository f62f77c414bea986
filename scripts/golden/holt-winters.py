"""Writes what statsmodels' smoothing says of a short series for given parameters and initial states, as JSON on
standard output. Run by scripts/golden/make, after the R script whose series and parameters it reads."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing

warnings.simplefilter("ignore")
with open(sys.argv[1], encoding="utf-8") as file:
    given = json.load(file)
y = np.array(given["series"])
m, horizon = given["m"], given["horizon"]
alpha, beta, gamma, phi = (given[name] for name in ("alpha", "beta", "gamma", "phi"))
starts = {case["season"]: case["start"] for case in given["cases"] if case["by"] == "ets"}

cases = []
for growth in ("N", "A", "Ad"):
    for season in ("N", "A", "M"):
        first = starts[season]
        names = {
            "trend": None if growth == "N" else "add",
            "damped_trend": growth == "Ad",
            "seasonal": {"N": None, "A": "add", "M": "mul"}[season],
            "seasonal_periods": None if season == "N" else m,
            "initialization_method": "known",
            "initial_level": given["level"],
            "initial_trend": None if growth == "N" else given["trend"],
            "initial_seasonal": None if season == "N" else first,
        }
        model = ExponentialSmoothing(y, **names)
        shares = {"smoothing_level": alpha}
        if growth != "N":
            shares["smoothing_trend"] = beta
        if growth == "Ad":
            shares["damping_trend"] = phi
        if season != "N":
            shares["smoothing_seasonal"] = gamma
        out = model.fit(optimized=False, **shares)
        cases.append({
            "by": "ExponentialSmoothing", "trend": growth, "season": season, "start": first,
            "fitted": list(out.fittedvalues), "level": list(out.level), "slope": list(out.trend) if growth != "N" else [],
            "mean": list(out.forecast(horizon)), "variance": None,
        })  # fmt: skip
        for error in ("A", "M"):
            space = ETSModel(
                pd.Series(y), error={"A": "add", "M": "mul"}[error], trend=names["trend"],
                damped_trend=names["damped_trend"], seasonal=names["seasonal"], seasonal_periods=names["seasonal_periods"],
                initialization_method="known", initial_level=given["level"], initial_trend=names["initial_trend"],
                initial_seasonal=names["initial_seasonal"],
            )  # fmt: skip
            values = {"smoothing_level": alpha, "smoothing_trend": alpha * beta, "smoothing_seasonal": gamma}
            values |= {"damping_trend": phi, "initial_level": given["level"], "initial_trend": given["trend"]}
            values |= {f"initial_seasonal.{i}": value for i, value in enumerate(first)}
            parameters = np.array([values[name] for name in space.param_names])
            out = space.smooth(parameters)
            cases.append({
                "by": "ETSModel", "error": error, "trend": growth, "season": season, "start": first,
                "fitted": list(out.fittedvalues), "level": list(out.level),
                "slope": list(out.slope) if growth != "N" else [], "mean": list(out.forecast(horizon)),
                # Of an error variance of 1; statsmodels has no public name for it.
                "variance": list(out._relative_forecast_variance(np.arange(1, horizon + 1)))
                if error == "A" and season != "M" else None,
            })  # fmt: skip

lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
print('{"cases":[\n' + lines + "\n]}")
