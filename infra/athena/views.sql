-- Views over the tables of tables.sql, in plain SQL that Athena and DuckDB both run. `.ci/read-archive` runs them over a
-- demo's archive.

-- Every candidate with what became of its prediction. The events of a prediction are folded as the evaluator does: field by
-- field, the last `observed_at` wins (then the greater digest). Only the dispatched candidate meets its truth: `actual_s`
-- is NULL for the others, for cancelled rides and while the outcome has not landed.
CREATE OR REPLACE VIEW predictions_with_outcomes AS
WITH folded AS (
  SELECT
    prediction_id,
    dt,
    hour,
    max_by(candidate_id, ROW(observed_at, event_digest)) FILTER (WHERE candidate_id IS NOT NULL) AS dispatched_candidate_id,
    max_by(dispatched_at, ROW(observed_at, event_digest)) FILTER (WHERE dispatched_at IS NOT NULL) AS dispatched_at,
    max_by(arrived_at, ROW(observed_at, event_digest)) FILTER (WHERE arrived_at IS NOT NULL) AS arrived_at,
    max_by(cancelled_at, ROW(observed_at, event_digest)) FILTER (WHERE cancelled_at IS NOT NULL) AS cancelled_at,
    count(*) AS outcome_events
  FROM outcomes
  GROUP BY prediction_id, dt, hour
)
SELECT
  p.*,
  o.dispatched_candidate_id,
  o.dispatched_at,
  o.arrived_at,
  o.cancelled_at,
  coalesce(o.outcome_events, 0) AS outcome_events,
  coalesce(p.candidate_id = o.dispatched_candidate_id, false) AS is_dispatched,
  CASE
    WHEN p.candidate_id = o.dispatched_candidate_id
    THEN CAST(date_diff('millisecond', p.requested_at, o.arrived_at) AS double) / 1000
  END AS actual_s
FROM predictions p
LEFT JOIN folded o ON o.prediction_id = p.prediction_id AND o.dt = p.dt AND o.hour = p.hour;

-- What SageMaker itself recorded, beside our record of the same inference. `recorded` is false where we have none.
CREATE OR REPLACE VIEW inferences_with_predictions AS
SELECT
  i.*,
  p.prediction_id IS NOT NULL AS recorded,
  p.arm,
  p.tier,
  p.variant AS answered_variant,
  p.model_version,
  p.prediction,
  p.features
FROM inferences i
LEFT JOIN predictions p
  ON p.model = i.model AND p.dt = i.dt AND p.hour = i.hour AND p.prediction_id = i.prediction_id
  AND (p.candidate_id = i.candidate_id OR (i.candidate_id IS NULL AND p.candidate_index = 0));
