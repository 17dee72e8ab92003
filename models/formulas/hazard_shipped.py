"""Coefficients of the hazard that is served, written by `lyo.evaluation.dropout.shipped`.

Fitted on 200 simulated populations (`lyo.evaluation.dropout.populations`, seed 1) and on who
withdraws within four weeks in OULAD (Kuzilek, Hlosta and Zdrahal 2017, Open University Learning Analytics
dataset, CC BY 4.0), which says what a low score means. The six factors weigh as much as in the
specification at least. Of each term: the reference learner's value, and the weight in each piece's logit.
"""

from typing import Final

INTERCEPTS: Final = (-0.8189, 0.2908, 0.0455)
"""Logits of the reference learner, by piece."""

WEIGHTS: Final = {
    "silence": (1.2304, 0.0274, 0.0, 0.0),
    "overdue": (0.5258, 0.6571, 0.319, 0.2449),
    "days": (-1.9974, 0.0, 0.0, 0.2433),
    "days_7": (-1.0591, 0.0, 0.0, 0.0),
    "days_3": (-0.5747, 0.2252, 0.0, 0.0),
    "amount": (-4.6851, 0.0, 0.0067, 0.0),
    "amount_7": (-3.4315, 0.0, 0.0, 0.0),
    "amount_3": (-2.0909, 0.0, 0.0, 0.0),
    "amount_first": (-2.8292, 0.0, 0.0, 0.0),
    "amount_last": (-2.8063, 0.155, 0.2343, 0.3358),
    "span": (-2.9086, 0.4596, 0.4151, 0.3062),
    "gap": (1.393, 1.0975, 0.6493, 0.3971),
    "score": (-0.7377, 2.7794, 4.0977, 5.4159),
    "declining_engagement": (0.0, 1.0, 1.0, 1.0),
    "infrequent_sessions": (0.0, 0.8, 0.8, 0.8),
    "negative_sentiment": (0.0, 0.8, 0.8, 0.8),
    "no_progress": (0.0, 0.6, 0.6, 0.6),
    "declining_performance": (0.0, 0.4825, 0.8766, 1.1463),
    "broken_streak": (0.0, 0.4, 0.4, 0.4),
    "decline": (0.0, 2.5, 2.5, 2.5),
}
