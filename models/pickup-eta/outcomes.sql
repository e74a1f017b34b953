-- What really happened: one row per thing that was learnt of a prediction. `mannen dataset outcomes` lands it.
SELECT *
FROM rides.outcomes
