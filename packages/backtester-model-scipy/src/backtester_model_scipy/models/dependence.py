"""Dependence by ranks as a predictor: rank correlations, and a Gaussian copula."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import pydantic
from scipy import linalg, special, stats

from backtester_model_core.typing import FloatArray, IntArray
from backtester_model_scipy.catalogs import register_model
from backtester_model_scipy.models.link import apply_link, fit_link
from backtester_model_scipy.models.model import WEIGHTS_UNUSED, Fitted, Model, Rows

SHARES = np.linspace(0.0, 1.0, 201)
"""Shares of the training rows at which a column's quantiles are kept."""

MAX_EXPLAINED = 0.99
"""Share of the target's latent variance that features may explain."""

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
"""Where an expectation over a standard normal variable is taken, and with which weights."""


def quantile_table(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the (201,) quantiles of a column of weighted values."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) - 0.5 * weight[order]
    return np.interp(SHARES, reached / weight.sum(), values[order])


def normal_scores(features: FloatArray, tables: FloatArray) -> FloatArray:
    """Return each value's quantile of the standard normal distribution, by its rank among training rows."""
    shares = np.column_stack(
        [np.interp(features[:, at], tables[at], SHARES) for at in range(features.shape[1])]
    )
    return np.asarray(special.ndtri(np.clip(shares, 0.5 * SHARES[1], 1 - 0.5 * SHARES[1])))


def correlations(left: FloatArray, right: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the (p, q) weighted correlations of the columns of two matrices; 0 for one that does not vary."""
    share = (weight / weight.sum())[:, None]
    left, right = left - (share * left).sum(axis=0), right - (share * right).sum(axis=0)
    scale = np.sqrt(np.outer((share * left**2).sum(axis=0), (share * right**2).sum(axis=0)))
    together = (share * left).T @ right
    return np.asarray(np.divide(together, scale, out=np.zeros_like(scale), where=scale > 1e-12))


@register_model("rank_correlation")
class RankCorrelation(Model):
    """A score of the features whose ranks go with the target's: ``s = sum rho_j z_j``, z the normal scores.

    rho is Spearman's (1904) or Kendall's (1938) rank correlation, kept where its p-value is below
    ``significance``. The label is then regressed on the score, by least squares or logistic regression. Extreme
    values move neither. Every feature is weighed as if it were the only one; ``gaussian_copula`` minds how features
    go together.
    """

    name: ClassVar = "rank_correlation"
    tasks: ClassVar = frozenset({"classification", "regression"})
    measure: Literal["spearman", "kendall"] = pydantic.Field(
        default="spearman", description="Whose rank correlation; only Spearman's counts sample weights."
    )
    significance: float = pydantic.Field(
        default=0.05,
        gt=0,
        le=1,
        description="Features whose p-value is not below this are left out; 1 keeps all.",
    )

    def fit(self, rows: Rows) -> Fitted:
        """Correlate, select, and regress the label on the score."""
        p = rows.features.shape[1]
        tables = np.array([quantile_table(rows.features[:, at], rows.weight) for at in range(p)])
        rho, p_value = self._measured(rows)
        kept = p_value < self.significance
        loading = np.where(kept, rho, 0.0)
        score = normal_scores(rows.features, tables) @ loading
        link = fit_link(score[:, None], rows, model=self.name)
        best = int(np.argmax(np.abs(rho)))
        closest = f"{rows.names[best]}: {self.measure} {rho[best]:.3f}, p-value {p_value[best]:.2g}"
        notes = [
            f"{int(kept.sum())} of {p} features go with the target; the closest is {closest}.",
            *link.notes,
        ]
        if rows.is_weighted and self.measure == "kendall":
            notes.append(WEIGHTS_UNUSED)
        arrays = {
            "tables": tables,
            "loading": loading,
            "is_classifier": np.array([float(rows.n_classes is not None)]),
        }
        return Fitted({**arrays, **link.arrays}, tuple(notes))

    def _measured(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return each feature's rank correlation with the target and its two-sided p-value."""
        columns = rows.features.T
        if self.measure == "kendall" or not rows.is_weighted:
            measure = stats.kendalltau if self.measure == "kendall" else stats.spearmanr
            found = [measure(column, rows.target) if np.ptp(column) > 0 else (0.0, 1.0) for column in columns]
            return np.array([float(one[0]) for one in found]), np.array([float(one[1]) for one in found])
        target = np.asarray(rows.target, dtype=np.float64)
        ranks = [_weighted_ranks(column, rows.weight) for column in (*columns, target)]
        rho = correlations(np.array(ranks[:-1]).T, ranks[-1][:, None], rows.weight)[:, 0]
        effective = (
            rows.weight.sum() ** 2 / (rows.weight**2).sum()
        )  # Kish (1965), Survey Sampling, section 8.2
        t = rho * np.sqrt(max(effective - 2, 1) / np.maximum(1 - rho**2, 1e-12))
        return rho, np.asarray(2 * stats.t.sf(np.abs(t), max(effective - 2, 1)))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return what the score says of the label."""
        score = normal_scores(features, fitted["tables"]) @ fitted["loading"]
        return apply_link(fitted.arrays, score[:, None], is_classifier=bool(fitted["is_classifier"][0]))

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute loadings: a deviation of a normal score is one."""
        return np.abs(fitted["loading"])


def _weighted_ranks(values: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the weight below each value plus half of that at it, equal values sharing theirs."""
    distinct, place = np.unique(values, return_inverse=True)
    at = np.bincount(place, weights=weight, minlength=len(distinct))
    return np.asarray((np.cumsum(at) - 0.5 * at)[place])


@register_model("gaussian_copula")
class GaussianCopula(Model):
    """A Gaussian copula of features and target: their normal scores are jointly normal with correlation R.

    R of the features comes from their rank correlations, ``2 sin(pi rho / 6)`` of Spearman's (Pearson, 1907) or
    ``sin(pi tau / 2)`` of Kendall's (Greiner, 1909), shrunk towards no correlation. Given the features the
    target's normal score is normal with mean ``m = z R_xx**-1 r_xy`` and variance ``1 - r_xy R_xx**-1 r_xy``, as in
    Nelsen (2006), An Introduction to Copulas, section 2.3. A number is foreseen as the expectation of the target's
    quantile function over that (24 Gauss-Hermite nodes); for classes in their order the latent score is cut by
    thresholds, and r_xy is the two-step polyserial correlation of Olsson, Drasgow and Dorans (1982), Psychometrika
    47(3), 337-347, equation 25.
    """

    name: ClassVar = "gaussian_copula"
    tasks: ClassVar = frozenset({"classification", "regression"})
    measure: Literal["spearman", "kendall"] = pydantic.Field(
        default="spearman", description="Whose rank correlation; only Spearman's counts sample weights."
    )
    shrinkage: float = pydantic.Field(
        default=0.05, ge=0, lt=1, description="How far correlations of features are drawn towards 0."
    )

    def fit(self, rows: Rows) -> Fitted:
        """Correlate normal scores."""
        p = rows.features.shape[1]
        tables = np.array([quantile_table(rows.features[:, at], rows.weight) for at in range(p)])
        z = normal_scores(rows.features, tables)
        arrays: dict[str, FloatArray] = {"tables": tables}
        if rows.n_classes is None:
            target = np.asarray(rows.target, dtype=np.float64)
            arrays["quantiles"] = quantile_table(target, rows.weight)
            latent = normal_scores(target[:, None], arrays["quantiles"][None])
            between = correlations(z, latent, rows.weight)[:, 0]
        else:
            share = (
                np.bincount(rows.target, weights=rows.weight, minlength=rows.n_classes) / rows.weight.sum()
            )
            arrays["thresholds"] = special.ndtri(np.cumsum(share)[:-1])
            position = np.asarray(rows.target, dtype=np.float64)
            away = position - share @ np.arange(rows.n_classes)
            deviation = np.sqrt((rows.weight @ away**2) / rows.weight.sum())
            between = correlations(z, position[:, None], rows.weight)[:, 0] * deviation
            between /= stats.norm.pdf(arrays["thresholds"]).sum()
        among = (1 - self.shrinkage) * self._among(rows) + self.shrinkage * np.eye(p)
        loading = linalg.lstsq(among, between)[0]
        explained = float(between @ loading)
        if explained > MAX_EXPLAINED:
            loading *= np.sqrt(MAX_EXPLAINED / explained)
            explained = MAX_EXPLAINED
        arrays |= {"loading": loading, "deviation": np.array([np.sqrt(1 - max(explained, 0.0))])}
        notes = [
            f"Features explain {explained:.4f} of the variance of the target's normal score in training."
        ]
        if rows.is_weighted and self.measure == "kendall":
            notes.append(f"Among features: {WEIGHTS_UNUSED[:1].lower()}{WEIGHTS_UNUSED[1:]}")
        return Fitted(arrays, tuple(notes))

    def _among(self, rows: Rows) -> FloatArray:
        """Return the (p, p) correlation of the features' normal scores that their rank correlations mean."""
        columns = rows.features.T
        if self.measure == "kendall":
            p = len(columns)
            tau = np.eye(p)
            for a in range(p):
                for b in range(a):
                    moving = np.ptp(columns[a]) > 0 and np.ptp(columns[b]) > 0
                    tau[a, b] = tau[b, a] = stats.kendalltau(columns[a], columns[b])[0] if moving else 0.0
            return np.asarray(np.sin(np.pi / 2 * tau))
        ranks = np.array([_weighted_ranks(column, rows.weight) for column in columns]).T
        rho = correlations(ranks, ranks, rows.weight)
        np.fill_diagonal(rho, 1.0)
        return np.asarray(2 * np.sin(np.pi / 6 * rho))

    def forecast(self, fitted: Fitted, features: FloatArray, ends: IntArray | None = None) -> FloatArray:
        """Return the conditional expectation, or the conditional probability of each class."""
        mean = normal_scores(features, fitted["tables"]) @ fitted["loading"]
        deviation = float(fitted["deviation"][0])
        if "thresholds" in fitted.arrays:
            below = special.ndtr((fitted["thresholds"] - mean[:, None]) / deviation)
            return np.diff(np.column_stack([np.zeros(len(mean)), below, np.ones(len(mean))]), axis=1)
        shares = special.ndtr(mean[:, None] + deviation * NODES)
        outcome = np.interp(shares, SHARES, fitted["quantiles"])
        return np.asarray(outcome @ (NODE_WEIGHTS / NODE_WEIGHTS.sum()))

    def importance(self, fitted: Fitted, deviation: FloatArray) -> FloatArray | None:
        """Return absolute loadings: a deviation of a normal score is one."""
        return np.abs(fitted["loading"])
