-- One row per ride that a car was sent to: what was known when it was asked for, and how long the car took.
-- `mannen dataset extract` binds @as_of; the other parameters are in dataset.toml.
SELECT *
FROM rides.training
WHERE requested_at >= @since
