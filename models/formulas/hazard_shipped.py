"""Coefficients of the hazard that is served, written by `lyo.evaluation.dropout.shipped`.

Fitted on 200 simulated populations (`lyo.evaluation.dropout.populations`, seed 1) and on who
withdraws within four weeks in OULAD (Kuzilek, Hlosta and Zdrahal 2017, Open University Learning Analytics
dataset, CC BY 4.0), which says what a low score means. The six factors weigh as much as in the
specification at least. Of each term: the reference learner's value, and the weight in each piece's logit.
"""

from typing import Final

INTERCEPTS: Final = (-0.7311, 0.4136, 0.1715)
"""Logits of the reference learner, by piece."""

WEIGHTS: Final = {
    "silence": (1.2304, 0.0, 0.0, 0.0),
    "overdue": (0.5258, 0.5347, 0.2126, 0.1553),
    "days": (-1.9974, 0.0, 0.0144, 0.3206),
    "days_7": (-1.0591, 0.0, 0.0, 0.0),
    "days_3": (-0.5747, 0.3693, 0.0, 0.0),
    "amount": (-4.6851, 0.0, 0.0, 0.0),
    "amount_7": (-3.4315, 0.0, 0.0, 0.0),
    "amount_3": (-2.0909, 0.0, 0.0, 0.0),
    "amount_first": (-2.8292, 0.0, 0.0, 0.0),
    "amount_last": (-2.8063, 0.1428, 0.2269, 0.3288),
    "span": (-2.9086, 0.4524, 0.4042, 0.2499),
    "gap": (1.393, 0.9868, 0.5907, 0.3036),
    "score": (-0.7377, 3.5519, 5.0356, 5.955),
    "declining_engagement": (0.0, 1.0, 1.0, 1.0),
    "infrequent_sessions": (0.0, 0.8, 0.8, 0.8),
    "negative_sentiment": (0.0, 0.8, 0.8, 0.8),
    "no_progress": (0.0, 0.6, 0.6, 0.6),
    "declining_performance": (0.0, 0.4541, 0.8195, 1.0445),
    "broken_streak": (0.0, 0.4, 0.4, 0.4),
}
