"""What test_interventions.py and test_interventions_changes.py share."""

from __future__ import annotations

CONTRACT = {
    "intervention_id",
    "user_id",
    "organization_id",
    "audience",
    "type",
    "priority",
    "title",
    "message",
    "action",
    "because",
    "status",
    "supersedes",
    "not_before",
    "expires_at",
    "refused",
    "as_of",
}
