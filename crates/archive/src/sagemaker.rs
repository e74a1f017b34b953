//! The forms in which SageMaker records inferences and takes labels, line by line. Fields that are not used are passed
//! over: AWS adds some from time to time.
//!
//! Sources: <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html>,
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-batch.html>,
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-check-predictions.html>,
//! <https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-merge.html>.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    Hour, InferenceKey, InferenceRecord, InferenceSource, MetricValue, ModelName, OutcomeEvent, Payload,
    PayloadEncoding,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use crate::{Rejection, inferences, landing::parse_foreign};

/// The metric of an outcome event that a label in SageMaker's ground-truth form becomes.
pub const GROUND_TRUTH_METRIC: &str = "ground_truth";

/// One line of a Data Capture file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CaptureLine {
    pub(crate) capture_data: CaptureData,
    pub(crate) event_metadata: EventMetadata,
    pub(crate) event_version: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CaptureData {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_input: Option<CapturedPayload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint_output: Option<CapturedPayload>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapturedPayload {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) observed_content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    pub(crate) data: String,
    pub(crate) encoding: PayloadEncoding,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventMetadata {
    pub(crate) event_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inference_id: Option<String>,
    pub(crate) inference_time: Timestamp,
}

/// One line of a ground-truth file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroundTruthLine {
    pub(crate) ground_truth_data: GroundTruthData,
    pub(crate) event_metadata: GroundTruthMetadata,
    pub(crate) event_version: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroundTruthData {
    pub(crate) data: Value,
    pub(crate) encoding: PayloadEncoding,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GroundTruthMetadata {
    pub(crate) event_id: String,
}

/// What a line of one of the model's files says.
pub(crate) struct Place<'a> {
    pub(crate) model: &'a ModelName,
    pub(crate) source: InferenceSource,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) variant: Option<&'a str>,
}

/// One line of a file that SageMaker wrote.
pub(crate) fn inference(place: &Place<'_>, line: &[u8]) -> Result<InferenceRecord, Rejection> {
    let record = match place.source {
        InferenceSource::DataCapture => data_capture(place, line),
        InferenceSource::BatchTransform => batch_transform(place, line),
        InferenceSource::AsyncInference => async_inference(place, line),
    }?;
    inferences::check(&record)?;
    Ok(inferences::to_micros(record))
}

fn record(place: &Place<'_>, inference_id: String, inference_time: Timestamp) -> InferenceRecord {
    InferenceRecord {
        model: place.model.clone(),
        source: place.source,
        inference_id,
        event_id: None,
        inference_time,
        endpoint: place.endpoint.map(str::to_owned),
        variant: place.variant.map(str::to_owned),
        input: None,
        output: None,
        input_location: None,
        output_location: None,
        failure: None,
    }
}

fn data_capture(place: &Place<'_>, line: &[u8]) -> Result<InferenceRecord, Rejection> {
    let CaptureLine { capture_data, event_metadata, .. } = parse_foreign(line)?;
    let EventMetadata { event_id, inference_id, inference_time } = event_metadata;
    let input = capture_data.endpoint_input.map(|payload| checked("endpointInput", payload)).transpose()?;
    let output = capture_data.endpoint_output.map(|payload| checked("endpointOutput", payload)).transpose()?;
    if input.is_none() && output.is_none() {
        return Err(Rejection::new("missing_field", "captureData: neither endpointInput nor endpointOutput"));
    }
    let inference_id = inference_id.unwrap_or_else(|| event_id.clone());
    Ok(InferenceRecord { event_id: Some(event_id), input, output, ..record(place, inference_id, inference_time) })
}

/// A payload whose data are what its encoding says.
fn checked(field: &str, payload: CapturedPayload) -> Result<Payload, Rejection> {
    let CapturedPayload { observed_content_type, data, encoding, .. } = payload;
    let valid = match encoding {
        PayloadEncoding::Csv => true,
        PayloadEncoding::Json => serde_json::from_str::<IgnoredAny>(&data).is_ok(),
        PayloadEncoding::Base64 => STANDARD.decode(&data).is_ok(),
    };
    if !valid {
        return Err(Rejection::new("invalid_payload", format!("{field}.data is not {}", encoding.as_str())));
    }
    Ok(Payload { content_type: observed_content_type, encoding, data })
}

const NO_ID: &str = "the line has no inference id and time at its end; run the transform job with GenerateInferenceId";

/// A line of a transform job's output, to which `GenerateInferenceId` has appended id and time: the last two columns of
/// CSV; `SageMakerInferenceId` and `SageMakerInferenceTime` in JSON lines. With `JoinSource` `Input` a JSON line holds the
/// input, and the answer in `SageMakerOutput`.
fn batch_transform(place: &Place<'_>, line: &[u8]) -> Result<InferenceRecord, Rejection> {
    let text = std::str::from_utf8(line)
        .map_err(|error| {
            Rejection::new("invalid_utf8", format!("byte {} of the line is not UTF-8", error.valid_up_to()))
        })?
        .trim();
    if text.starts_with('{') { transformed_json(place, line) } else { transformed_csv(place, text) }
}

fn transformed_csv(place: &Place<'_>, line: &str) -> Result<InferenceRecord, Rejection> {
    let mut parts = line.rsplitn(3, ',').map(|part| part.trim().trim_matches('"'));
    let (Some(time), Some(id), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Rejection::new("no_inference_id", NO_ID));
    };
    let time: Timestamp = time.parse().map_err(|_| Rejection::new("no_inference_id", NO_ID))?;
    let data = line.rsplitn(3, ',').last().unwrap_or_default().to_owned();
    let output = Payload { content_type: Some("text/csv".to_owned()), encoding: PayloadEncoding::Csv, data };
    Ok(InferenceRecord { output: Some(output), ..record(place, id.to_owned(), time) })
}

fn transformed_json(place: &Place<'_>, line: &[u8]) -> Result<InferenceRecord, Rejection> {
    let mut fields: serde_json::Map<String, Value> = parse_foreign(line)?;
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Rejection::new("no_inference_id", NO_ID)),
    };
    let id = text("SageMakerInferenceId")?;
    let time = text("SageMakerInferenceTime")?;
    let time =
        time.parse().map_err(|error| Rejection::new("invalid_value", format!("SageMakerInferenceTime: {error}")))?;
    let payload = |value: Value| Payload {
        content_type: Some("application/json".to_owned()),
        encoding: PayloadEncoding::Json,
        data: value.to_string(),
    };
    let (input, output) = match fields.remove("SageMakerOutput") {
        Some(output) => (Some(payload(Value::Object(fields))), payload(output)),
        None => (None, payload(Value::Object(fields))),
    };
    Ok(InferenceRecord { input, output: Some(output), ..record(place, id, time) })
}

#[derive(Deserialize)]
struct SnsEnvelope {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AsyncResult {
    event_time: Timestamp,
    received_time: Option<Timestamp>,
    event_name: String,
    inference_id: Option<String>,
    failure_reason: Option<String>,
    #[serde(default)]
    request_parameters: AsyncRequest,
    #[serde(default)]
    response_parameters: AsyncResponse,
    response_body: Option<AsyncBody>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AsyncRequest {
    endpoint_name: Option<String>,
    input_location: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct AsyncResponse {
    content_type: Option<String>,
    output_location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AsyncBody {
    content: String,
    content_type: Option<String>,
    encoding: Option<PayloadEncoding>,
}

/// A notification of an asynchronous endpoint, bare or in SNS's envelope. The result object itself has no inference id;
/// the notification has it, names the object, and holds the answer where `IncludeInferenceResponseIn` says so.
fn async_inference(place: &Place<'_>, line: &[u8]) -> Result<InferenceRecord, Rejection> {
    let result: AsyncResult = match parse_foreign::<SnsEnvelope>(line) {
        Ok(SnsEnvelope { message }) => parse_foreign(message.as_bytes())?,
        Err(_) => parse_foreign(line)?,
    };
    if result.event_name != "InferenceResult" {
        return Err(Rejection::new("invalid_value", "eventName: expected `InferenceResult`"));
    }
    let AsyncResponse { content_type, output_location } = result.response_parameters;
    let stem = |location: &String| Some(location.rsplit('/').next()?.trim_end_matches(".out").to_owned());
    let inference_id = result.inference_id.filter(|id| !id.is_empty());
    let inference_id = inference_id.or_else(|| output_location.as_ref().and_then(stem));
    let Some(inference_id) = inference_id else {
        return Err(Rejection::new("no_inference_id", "the notification has neither inferenceId nor outputLocation"));
    };
    let output = result.response_body.map(|body| {
        let content_type = body.content_type.or(content_type);
        let is_json = content_type.as_deref().is_some_and(|media| media.contains("json"));
        let as_named = if is_json { PayloadEncoding::Json } else { PayloadEncoding::Csv };
        let encoding = body.encoding.unwrap_or(as_named);
        CapturedPayload { observed_content_type: content_type, mode: None, data: body.content, encoding }
    });
    Ok(InferenceRecord {
        endpoint: result.request_parameters.endpoint_name,
        input_location: result.request_parameters.input_location,
        output: output.map(|payload| checked("responseBody", payload)).transpose()?,
        output_location,
        failure: result.failure_reason,
        ..record(place, inference_id, result.received_time.unwrap_or(result.event_time))
    })
}

/// A label, as an outcome event with the metric [`GROUND_TRUTH_METRIC`], observed at the hour of collection.
pub(crate) fn ground_truth(collected: Hour, line: &[u8]) -> Result<OutcomeEvent, Rejection> {
    let GroundTruthLine { ground_truth_data, event_metadata, .. } = parse_foreign(line)?;
    let key: InferenceKey = event_metadata.event_id.parse().map_err(|error: domain::DomainError| {
        Rejection::new(error.reason(), format!("eventMetadata.eventId: {error}"))
    })?;
    let value = match &ground_truth_data.data {
        Value::Bool(value) => Some(MetricValue::Binary(*value)),
        Value::Number(number) => number.as_f64().map(MetricValue::Numeric),
        Value::String(text) => match text.trim() {
            "true" => Some(MetricValue::Binary(true)),
            "false" => Some(MetricValue::Binary(false)),
            text => text.parse().ok().map(MetricValue::Numeric),
        },
        _ => None,
    };
    let value = value.filter(|_| ground_truth_data.encoding != PayloadEncoding::Base64);
    let Some(value) = value else {
        let detail = "groundTruthData: expected one number, true or false, as CSV or JSON";
        return Err(Rejection::new("invalid_value", detail));
    };
    let event = OutcomeEvent {
        prediction_id: key.prediction_id,
        candidate_id: key.candidate_id,
        observed_at: collected.start(),
        dispatched_at: None,
        arrived_at: None,
        cancelled_at: None,
        metrics: BTreeMap::from([(GROUND_TRUTH_METRIC.to_owned(), value)]),
    };
    event.validate().map_err(|error| Rejection::new(error.reason(), error.to_string()))?;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use domain::lake::{Table, landing_source};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{DecodeLimits, Landed, Rows, decode_source};

    const ID: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    const CAPTURE: &str = "landing/data-capture/pickup-eta/e/v/2022/02/22/19/x.jsonl";
    const TRANSFORM: &str = "landing/batch-transform/pickup-eta/job/x.csv.out";
    const ASYNC: &str = "landing/async-inference/pickup-eta/x.json";
    const TRUTH: &str = "landing/ground-truth/pickup-eta/2022/02/22/20/x.jsonl";

    fn decode(key: &str, text: &str) -> Landed {
        decode_source(&landing_source(key).unwrap(), text.as_bytes(), DecodeLimits::default())
    }

    fn inferences(key: &str, text: &str) -> Vec<InferenceRecord> {
        let landed = decode(key, text);
        assert!(landed.bad.is_empty(), "{:?}", landed.bad);
        let Rows::Inferences(records) = landed.rows else { panic!() };
        records
    }

    fn reasons(key: &str, text: &str) -> Vec<&'static str> {
        let landed = decode(key, text);
        assert!(landed.rows.is_empty(), "{:?}", landed.rows);
        landed.bad.iter().map(|line| line.reason).collect()
    }

    fn capture(inference_id: Option<&str>, encoding: &str, data: &str) -> String {
        let payload =
            |mode: &str| json!({"observedContentType": "x/y", "mode": mode, "data": data, "encoding": encoding});
        let mut line = json!({
            "captureData": {"endpointInput": payload("INPUT"), "endpointOutput": payload("OUTPUT")},
            "eventMetadata": {"eventId": "b1", "inferenceTime": "2022-02-22T19:25:49Z", "customAttributes": ["x"]},
            "eventVersion": "0",
        });
        if let Some(id) = inference_id {
            line["eventMetadata"]["inferenceId"] = id.into();
        }
        line.to_string() + "\n"
    }

    #[test]
    fn captures_in_every_encoding() {
        let text = capture(Some(ID), "CSV", "1,2\n3,4\n")
            + &capture(None, "JSON", "{\"a\":1}")
            + &capture(Some("x"), "BASE64", "/w==");
        let records = inferences(CAPTURE, &text);
        let [ours, without_id, foreign] = records.as_slice() else { panic!() };
        assert_eq!(ours.prediction_id().unwrap().to_string(), ID);
        assert_eq!((ours.endpoint.as_deref(), ours.variant.as_deref()), (Some("e"), Some("v")));
        assert_eq!(ours.input.as_ref().unwrap().data, "1,2\n3,4\n");
        assert_eq!((without_id.inference_id.as_str(), without_id.event_id.as_deref()), ("b1", Some("b1")));
        assert_eq!(foreign.output.as_ref().unwrap().encoding, PayloadEncoding::Base64);
        assert_eq!((foreign.prediction_id(), foreign.hour().to_string().as_str()), (None, "2022-02-22T19"));
    }

    #[test]
    fn bad_captures_are_told_apart() {
        let text = [
            capture(None, "BASE64", "no base64"),
            capture(None, "JSON", "{"),
            capture(None, "XML", "x"),
            capture(None, "CSV", &"1".repeat(inferences::MAX_PAYLOAD_BYTES + 1)),
            capture(None, "CSV", "1").replace("2022-02-22T19", "2400-02-22T19"),
            capture(Some(""), "CSV", "1"),
            "{\"captureData\":{},\"eventMetadata\":{\"eventId\":\"a\",\"inferenceTime\":\"2022-02-22T19:25:49Z\"},\"eventVersion\":\"0\"}\n".to_owned(),
            "{\"captureData\":{}}\n[]\n\n".to_owned(),
        ];
        let expected = [
            "invalid_payload",
            "invalid_payload",
            "invalid_value",
            "payload_too_large",
            "invalid_inference",
            "invalid_inference",
            "missing_field",
            "missing_field",
            "invalid_value",
        ];
        assert_eq!(reasons(CAPTURE, &text.concat()), expected);
    }

    #[test]
    fn outputs_of_transform_jobs_carry_the_id_at_their_end() {
        let csv = format!("1.5,\"a,b\",2,{ID},2022-02-22T19:25:49Z\r\n");
        let joined = json!({"a": 1, "SageMakerOutput": {"score": 2.5}, "SageMakerInferenceId": ID, "SageMakerInferenceTime": "2022-02-22T19:25:49Z"});
        let bare = json!({"score": 2.5, "SageMakerInferenceId": ID, "SageMakerInferenceTime": "2022-02-22T19:25:49Z"});
        let records = inferences(TRANSFORM, &format!("{csv}{joined}\n{bare}\n"));
        let data = |payload: &Option<Payload>| payload.as_ref().map(|payload| payload.data.clone());
        let found: Vec<_> = records.iter().map(|record| (data(&record.input), data(&record.output).unwrap())).collect();
        let expected = [
            (None, "1.5,\"a,b\",2".to_owned()),
            (Some("{\"a\":1}".to_owned()), "{\"score\":2.5}".to_owned()),
            (None, "{\"score\":2.5}".to_owned()),
        ];
        assert_eq!(found, expected);
        assert!(records.iter().all(|record| record.prediction_id().is_some()));
        assert_eq!(reasons(TRANSFORM, "1.5\n1,2,3\n{\"score\":1}\n"), ["no_inference_id"; 3]);
    }

    #[test]
    fn notifications_of_asynchronous_endpoints() {
        let mut done = json!({
            "awsRegion": "us-east-1", "eventTime": "2022-02-22T19:26:00.608Z", "receivedTime": "2022-02-22T19:25:00.455Z",
            "invocationStatus": "Completed", "inferenceId": ID,
            "requestParameters": {"contentType": "text/csv", "endpointName": "slow", "inputLocation": "s3://b/in.csv"},
            "responseParameters": {"contentType": "text/csv; charset=utf-8", "outputLocation": "s3://b/o/5f.out"},
            "eventVersion": "1.0", "eventSource": "aws:sagemaker", "eventName": "InferenceResult",
        });
        let enveloped = json!({"Type": "Notification", "MessageId": "m", "Message": done.to_string()});
        let records = inferences(ASYNC, &format!("{done}\n{enveloped}\n"));
        assert_eq!(records[0], records[1]);
        assert_eq!(records[0].output_location.as_deref(), Some("s3://b/o/5f.out"));
        assert_eq!((records[0].endpoint.as_deref(), &records[0].output), (Some("slow"), &None));
        assert_eq!(records[0].inference_time.to_string(), "2022-02-22T19:25:00.455Z");

        done["responseBody"] = json!({"content": "MS41", "contentType": "text/csv", "encoding": "BASE64"});
        done.as_object_mut().unwrap().remove("inferenceId");
        let records = inferences(ASYNC, &done.to_string());
        assert_eq!(records[0].output.as_ref().unwrap().data, "MS41");
        assert_eq!(records[0].inference_id, "5f", "the result object's name");

        done["eventName"] = "Other".into();
        assert_eq!(reasons(ASYNC, &format!("{done}\n1.5\n")), ["invalid_value"; 2]);
    }

    #[test]
    fn labels_are_outcomes_observed_when_collected() {
        let line = |id: &str, data: &str, encoding: &str| {
            let data: Value = serde_json::from_str(data).unwrap();
            json!({"groundTruthData": {"data": data, "encoding": encoding}, "eventMetadata": {"eventId": id}, "eventVersion": "0"}).to_string() + "\n"
        };
        let good =
            line(ID, "\"1\"", "CSV") + &line(&format!("{ID}#car 7"), "412.5", "JSON") + &line(ID, "\"true\"", "CSV");
        let landed = decode(TRUTH, &good);
        let Rows::Outcomes(events) = landed.rows else { panic!() };
        assert!(landed.bad.is_empty(), "{:?}", landed.bad);
        let values: Vec<_> = events.iter().map(|event| event.metrics[GROUND_TRUTH_METRIC]).collect();
        assert_eq!(values, [MetricValue::Numeric(1.0), MetricValue::Numeric(412.5), MetricValue::Binary(true)]);
        assert_eq!(events[1].candidate_id.as_ref().unwrap().as_str(), "car 7");
        assert_eq!(events[0].observed_at.to_string(), "2022-02-22T20:00:00Z");
        assert_eq!(landing_source(TRUTH).unwrap().table(), Table::Outcomes);
        let bad = line("not ours", "\"1\"", "CSV")
            + &line(ID, "\"1,2\"", "CSV")
            + &line(ID, "\"MQ==\"", "BASE64")
            + &line(ID, "\"NaN\"", "CSV");
        assert_eq!(
            reasons(TRUTH, &bad),
            ["invalid_prediction_id", "invalid_value", "invalid_value", "invalid_outcome"]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn damaged_lines_are_good_or_bad(at in 0usize..400, byte: u8, noise in prop::collection::vec(any::<u8>(), 0..40), which in 0usize..4) {
            let key = [CAPTURE, TRANSFORM, ASYNC, TRUTH][which];
            let mut line = capture(Some(ID), "CSV", "1,2").into_bytes();
            let at = at.min(line.len() - 1);
            line[at] = byte;
            for bytes in [line, noise] {
                let compressed = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
                prop_assume!(!compressed);
                let landed = decode_source(&landing_source(key).unwrap(), &bytes, DecodeLimits::default());
                let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count();
                prop_assert_eq!(landed.rows.len() + landed.bad.len(), lines);
                if let Rows::Inferences(records) = landed.rows {
                    prop_assert!(crate::write_inferences(&records).is_ok(), "what was taken can be archived");
                }
            }
        }
    }
}
