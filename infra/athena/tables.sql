-- The archive's tables for Athena. Generated from crates/archive/src/schema.rs; `UPDATE_SCHEMA=1 cargo test -p archive`
-- writes it anew. Put the lake's bucket in place of LAKE_BUCKET. Times are UTC; `dt` and `hour` are event time.
-- A query of predictions or inferences names its model (`WHERE model = '…'`); any query is cheaper with `dt`.

CREATE EXTERNAL TABLE IF NOT EXISTS predictions (
  `prediction_id` string COMMENT 'UUIDv7 of the request. Its time tells the hour that the row lies in.',
  `candidate_id` string COMMENT 'The caller''s name of the candidate (a car), unique within the request.',
  `candidate_index` int COMMENT 'Position of the candidate in the request, from 0.',
  `model_name` string COMMENT 'The model that was asked. Equals the path''s model.',
  `model_version` string COMMENT 'Version of the model behind the variant.',
  `release_id` string COMMENT 'The release that was in force (SHA-256 of its document).',
  `spec_hash` string COMMENT 'SHA-256 of the feature spec in its canonical form.',
  `unit_id` string COMMENT 'What experiments randomise (the rider), where the caller named it.',
  `requested_at` timestamp COMMENT 'Event time.',
  `answered_at` timestamp COMMENT 'The function''s clock when the answer was known.',
  `experiment_id` string COMMENT 'The experiment, where the release has one.',
  `arm` string COMMENT 'The arm that was assigned.',
  `arm_probability` double COMMENT 'Probability with which that arm was assigned, 0 to 1.',
  `tier` string COMMENT 'Which tier answered: endpoint, second-endpoint or fallback.',
  `tier_reason` string COMMENT 'Reason code, where it was not the first tier.',
  `endpoint` string COMMENT 'The SageMaker endpoint that was asked.',
  `variant` string COMMENT 'The production variant that answered, or was asked where none did.',
  `prediction` double COMMENT 'The answer, in the unit of the spec''s prediction.',
  `fallback` double COMMENT 'What the fallback expression says, whichever tier answered.',
  `features` array<double> COMMENT 'The model''s input row, in the spec''s output order. NULL where a feature is NULL.',
  `inputs` string COMMENT 'JSON object: the raw inputs shared by all candidates, as they came.',
  `candidate_inputs` string COMMENT 'JSON object: the raw inputs of this candidate, as they came.',
  `transform_us` bigint COMMENT 'Microseconds spent validating and transforming the inputs (whole request).',
  `endpoint_us` bigint COMMENT 'Microseconds spent waiting for endpoints (whole request).',
  `total_us` bigint COMMENT 'Microseconds from the invocation''s arrival until the answer was known.',
  `ride_id` string COMMENT 'The ride that the request is a refresh of, where the caller named it.',
  `randomised_unit` string COMMENT 'What was randomised where that is not unit_id: <zone>|<slot''s beginning, s since 1970>.',
  `assignment_excluded` string COMMENT 'Why the row does not count in its experiment: forced or carry-over.',
  `last_shown` double COMMENT 'What the rider had been shown before, as the request said it.',
  `shown` double COMMENT 'What the promise''s policy said to show. NULL where the release has none: then prediction.',
  `lower` double COMMENT 'Lower end of the promise''s interval. NULL where the release has none.',
  `upper` double COMMENT 'Upper end of the promise''s interval. NULL where the release has none.',
  `uncorrected` double COMMENT 'What the endpoint had said, where the release''s correction made the prediction of it. NULL elsewhere.'
)
PARTITIONED BY (`model` string, `dt` string, `hour` string)
STORED AS PARQUET
LOCATION 's3://LAKE_BUCKET/archive/predictions/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.model.type' = 'injected',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2015-01-01,NOW+1DAY',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://LAKE_BUCKET/archive/predictions/model=${model}/dt=${dt}/hour=${hour}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS shadows (
  `prediction_id` string COMMENT 'The prediction that this is a shadow of. Its time tells the hour.',
  `candidate_id` string COMMENT 'The caller''s name of the candidate.',
  `candidate_index` int COMMENT 'Position of the candidate in the request, from 0.',
  `model_name` string COMMENT 'The model that was asked. Equals the path''s model.',
  `model_version` string COMMENT 'Version of the model behind the shadow''s variant.',
  `release_id` string COMMENT 'The release that was in force (SHA-256 of its document).',
  `arm` string COMMENT 'The shadow arm.',
  `endpoint` string COMMENT 'The SageMaker endpoint that was asked.',
  `variant` string COMMENT 'The production variant that was asked.',
  `answered_at` timestamp COMMENT 'The function''s clock when the shadow had answered, or failed.',
  `reason` string COMMENT 'Reason code, where it has no predictions.',
  `prediction` double COMMENT 'What it predicts, in the unit of the spec''s prediction. NULL where there is a reason.',
  `endpoint_us` bigint COMMENT 'Microseconds spent waiting for it (whole request).'
)
PARTITIONED BY (`model` string, `dt` string, `hour` string)
STORED AS PARQUET
LOCATION 's3://LAKE_BUCKET/archive/shadows/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.model.type' = 'injected',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2015-01-01,NOW+1DAY',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://LAKE_BUCKET/archive/shadows/model=${model}/dt=${dt}/hour=${hour}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS outcomes (
  `prediction_id` string COMMENT 'The prediction that this is the outcome of. Its time tells the hour.',
  `candidate_id` string COMMENT 'The candidate that was dispatched.',
  `observed_at` timestamp COMMENT 'When the reporting system learnt of it. Orders corrections.',
  `dispatched_at` timestamp COMMENT 'When the candidate was dispatched.',
  `arrived_at` timestamp COMMENT 'When it arrived.',
  `cancelled_at` timestamp COMMENT 'When the ride was cancelled.',
  `metrics` string COMMENT 'JSON object: business metrics by name, numbers or booleans.',
  `event_digest` string COMMENT 'SHA-256 of the event: the same event sent twice is one row.'
)
PARTITIONED BY (`dt` string, `hour` string)
STORED AS PARQUET
LOCATION 's3://LAKE_BUCKET/archive/outcomes/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2015-01-01,NOW+1DAY',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://LAKE_BUCKET/archive/outcomes/dt=${dt}/hour=${hour}/'
);

CREATE EXTERNAL TABLE IF NOT EXISTS inferences (
  `inference_id` string COMMENT 'The caller''s InferenceId; SageMaker''s event id where there was none.',
  `prediction_id` string COMMENT 'The prediction that this is the inference of, where the inference id names one.',
  `candidate_id` string COMMENT 'The candidate, where the inference id names one.',
  `model_name` string COMMENT 'The model, as the landing prefix names it.',
  `source` string COMMENT 'Who saw it: data-capture, batch-transform or async-inference.',
  `event_id` string COMMENT 'SageMaker''s id of the event.',
  `inference_time` timestamp COMMENT 'When the model was asked, by SageMaker''s clock.',
  `endpoint` string COMMENT 'The SageMaker endpoint.',
  `variant` string COMMENT 'The production variant.',
  `input_content_type` string COMMENT 'The media type of the input.',
  `input_encoding` string COMMENT 'How input is written: CSV, JSON or BASE64.',
  `input` string COMMENT 'What the model was asked.',
  `output_content_type` string COMMENT 'The media type of the output.',
  `output_encoding` string COMMENT 'How output is written: CSV, JSON or BASE64.',
  `output` string COMMENT 'What the model answered.',
  `input_location` string COMMENT 'The S3 object that holds the input (asynchronous inference).',
  `output_location` string COMMENT 'The S3 object that holds the output (asynchronous inference).',
  `failure` string COMMENT 'Why the model did not answer (asynchronous inference).',
  `event_digest` string COMMENT 'SHA-256 of the record: the same event delivered twice is one row.'
)
PARTITIONED BY (`model` string, `dt` string, `hour` string)
STORED AS PARQUET
LOCATION 's3://LAKE_BUCKET/archive/inferences/'
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.model.type' = 'injected',
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '2015-01-01,NOW+1DAY',
  'projection.dt.interval' = '1',
  'projection.dt.interval.unit' = 'DAYS',
  'projection.hour.type' = 'integer',
  'projection.hour.range' = '0,23',
  'projection.hour.digits' = '2',
  'storage.location.template' = 's3://LAKE_BUCKET/archive/inferences/model=${model}/dt=${dt}/hour=${hour}/'
);
