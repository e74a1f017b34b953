-- One row per ride that a car was sent to: what was known when it was asked for, and how long the car took. The table as it
-- stood at the extract's as-of, so that the same command gives the same rows. The other parameters are in dataset.toml.
SELECT *
FROM rides.training FOR SYSTEM_TIME AS OF @as_of
WHERE requested_at >= @since
