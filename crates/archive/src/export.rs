//! Our records in the forms that SageMaker's own tools read: Data Capture and ground truth.
//!
//! A tool that joins the two takes one label per line. So a candidate is a line, with the inference id
//! `<prediction id>#<candidate id>`; where there is only one candidate, the prediction's id alone.

use std::fmt::Write;

use domain::{
    InferenceKey, InferenceRecord, InferenceSource, OutcomeState, Payload, PayloadEncoding, PredictionRecord, Tier,
};

use crate::sagemaker::{
    CaptureData, CaptureLine, CapturedPayload, EventMetadata, GroundTruthData, GroundTruthLine, GroundTruthMetadata,
};

const EVENT_VERSION: &str = "0";

/// The Data Capture lines of a record, one per candidate: its features as the endpoint was given them (CSV; empty where
/// NULL) and its answer. None where no endpoint answered: a capture never sees fallback answers.
pub fn data_capture_lines(record: &PredictionRecord) -> Vec<String> {
    if record.tier == Tier::Fallback {
        return Vec::new();
    }
    let csv = |mode: &str, data: String| CapturedPayload {
        observed_content_type: Some("text/csv".to_owned()),
        mode: Some(mode.to_owned()),
        data,
        encoding: PayloadEncoding::Csv,
    };
    let ids = inference_ids(record);
    let lines = record.candidates.iter().zip(ids).map(|(candidate, id)| {
        let line = CaptureLine {
            capture_data: CaptureData {
                endpoint_input: Some(csv("INPUT", csv_row(&candidate.features))),
                endpoint_output: Some(csv("OUTPUT", candidate.prediction.to_string())),
            },
            event_metadata: EventMetadata {
                event_id: id.to_string(),
                inference_id: Some(id.to_string()),
                inference_time: record.requested_at,
            },
            event_version: EVENT_VERSION.to_owned(),
        };
        serde_json::to_string(&line).unwrap_or_default()
    });
    lines.collect()
}

/// The inference id of each candidate, in order.
fn inference_ids(record: &PredictionRecord) -> impl Iterator<Item = InferenceKey> {
    let single = record.candidates.len() == 1;
    record.candidates.iter().map(move |candidate| InferenceKey {
        prediction_id: record.prediction_id,
        candidate_id: (!single).then(|| candidate.candidate_id.clone()),
    })
}

/// An endpoint's row as CSV: the shortest decimal that reads back as the same double; empty where NULL.
fn csv_row(features: &[Option<f64>]) -> String {
    let mut row = String::new();
    for (index, feature) in features.iter().enumerate() {
        if index > 0 {
            row.push(',');
        }
        if let Some(value) = feature {
            _ = write!(row, "{value}");
        }
    }
    row
}

/// What SageMaker captured, as the line that it came as (but for fields that the archive does not keep). `None` for
/// inferences of other sources.
pub fn captured_line(record: &InferenceRecord) -> Option<String> {
    if record.source != InferenceSource::DataCapture {
        return None;
    }
    let payload = |payload: &Option<Payload>, mode: &str| {
        payload.as_ref().map(|Payload { content_type, encoding, data }| CapturedPayload {
            observed_content_type: content_type.clone(),
            mode: Some(mode.to_owned()),
            data: data.clone(),
            encoding: *encoding,
        })
    };
    let event_id = record.event_id.clone().unwrap_or_else(|| record.inference_id.clone());
    let line = CaptureLine {
        capture_data: CaptureData {
            endpoint_input: payload(&record.input, "INPUT"),
            endpoint_output: payload(&record.output, "OUTPUT"),
        },
        event_metadata: EventMetadata {
            // SageMaker's own ids are no UUIDv7: an id of ours was brought by the caller.
            inference_id: (event_id != record.inference_id || record.prediction_id().is_some())
                .then(|| record.inference_id.clone()),
            event_id,
            inference_time: record.inference_time,
        },
        event_version: EVENT_VERSION.to_owned(),
    };
    serde_json::to_string(&line).ok()
}

/// The ground-truth line of a record: the seconds from the request until the dispatched candidate arrived. `None` where
/// it has not arrived, or is none of the record's.
pub fn ground_truth_line(record: &PredictionRecord, outcome: &OutcomeState) -> Option<String> {
    let (arrived_at, dispatched) = (outcome.arrived_at?, outcome.candidate_id.as_ref()?);
    let index = record.candidates.iter().position(|candidate| candidate.candidate_id == *dispatched)?;
    let id = inference_ids(record).nth(index)?;
    let actual_us = arrived_at.as_microsecond() - record.requested_at.as_microsecond();
    let line = GroundTruthLine {
        ground_truth_data: GroundTruthData {
            data: (actual_us as f64 / 1e6).to_string().into(),
            encoding: PayloadEncoding::Csv,
        },
        event_metadata: GroundTruthMetadata { event_id: id.to_string() },
        event_version: EVENT_VERSION.to_owned(),
    };
    serde_json::to_string(&line).ok()
}

#[cfg(test)]
mod tests {
    use domain::{MetricValue, OutcomeEvent, lake::LandingSource};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::{DecodeLimits, Rows, decode_source, samples};

    fn capture_source() -> LandingSource {
        LandingSource::Inferences {
            model: "pickup-eta".parse().unwrap(),
            source: InferenceSource::DataCapture,
            endpoint: Some("e".to_owned()),
            variant: Some("v".to_owned()),
        }
    }

    fn read_back(lines: &[String], source: &LandingSource) -> Rows {
        let landed = decode_source(source, lines.join("\n").as_bytes(), DecodeLimits::default());
        assert!(landed.bad.is_empty() && landed.complete, "{:?}", landed.bad);
        landed.rows
    }

    #[test]
    fn a_single_candidate_needs_no_name() {
        let record = samples::prediction(3);
        assert_eq!(record.candidates.len(), 1);
        let line: Value = serde_json::from_str(&data_capture_lines(&record)[0]).unwrap();
        assert_eq!(line["eventMetadata"]["inferenceId"], record.prediction_id.to_string());
        assert_eq!(line["captureData"]["endpointInput"]["data"], "1,");
        assert_eq!(line["eventVersion"], "0");
        let fallback = PredictionRecord { tier: Tier::Fallback, ..record };
        assert!(data_capture_lines(&fallback).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn captures_of_our_records_read_back(records in samples::predictions()) {
            for record in records.into_iter().filter(|record| domain::is_archivable(record.requested_at)) {
                let Rows::Inferences(read) = read_back(&data_capture_lines(&record), &capture_source()) else { panic!() };
                if record.tier == Tier::Fallback {
                    prop_assert!(read.is_empty());
                    continue;
                }
                prop_assert_eq!(read.len(), record.candidates.len());
                for (inference, candidate) in read.iter().zip(&record.candidates) {
                    prop_assert_eq!(inference.prediction_id(), Some(record.prediction_id));
                    prop_assert_eq!(inference.hour(), record.hour());
                    prop_assert_eq!(inference.inference_time, record.requested_at);
                    let answer: f64 = inference.output.as_ref().unwrap().data.parse().unwrap();
                    prop_assert_eq!(answer.to_bits(), candidate.prediction.to_bits());
                    let row = &inference.input.as_ref().unwrap().data;
                    let cells: Vec<&str> = if candidate.features.is_empty() { Vec::new() } else { row.split(',').collect() };
                    prop_assert_eq!(cells.len(), candidate.features.len());
                    for (cell, feature) in cells.iter().zip(&candidate.features) {
                        let read = cell.parse::<f64>().ok().map(f64::to_bits);
                        prop_assert_eq!(read, feature.map(f64::to_bits));
                    }
                }
            }
        }

        #[test]
        fn captures_of_sagemaker_come_out_as_they_went_in(inferences in samples::inferences()) {
            let captured: Vec<_> = inferences
                .into_iter()
                .map(|record| InferenceRecord {
                    source: InferenceSource::DataCapture,
                    endpoint: Some("e".to_owned()),
                    variant: Some("v".to_owned()),
                    input_location: None,
                    output_location: None,
                    failure: None,
                    event_id: Some(record.event_id.unwrap_or_else(|| record.inference_id.clone())),
                    ..record
                })
                .filter(|record| record.input.is_some() || record.output.is_some())
                .collect();
            let lines: Vec<String> = captured.iter().filter_map(captured_line).collect();
            prop_assert_eq!(read_back(&lines, &capture_source()), Rows::Inferences(captured));
        }

        #[test]
        fn labels_read_back(record in samples::predictions(), after_us in 1i64..10_000_000_000) {
            let collected = LandingSource::GroundTruth { collected: "2026-02-01T00".parse().unwrap() };
            for record in record.into_iter().filter(|record| record.requested_at.as_microsecond() > 0) {
                let candidate = record.candidates[0].candidate_id.clone();
                let arrived = record.requested_at + jiff::Span::new().microseconds(after_us);
                let outcome = OutcomeState {
                    candidate_id: Some(candidate.clone()),
                    arrived_at: Some(arrived),
                    ..OutcomeState::default()
                };
                let line = ground_truth_line(&record, &outcome).unwrap();
                let Rows::Outcomes(events) = read_back(&[line], &collected) else { panic!() };
                let [OutcomeEvent { prediction_id, candidate_id, metrics, .. }] = events.as_slice() else { panic!() };
                prop_assert_eq!(*prediction_id, record.prediction_id);
                prop_assert_eq!(candidate_id.clone(), (record.candidates.len() > 1).then_some(candidate));
                let truth = &metrics[crate::GROUND_TRUTH_METRIC];
                prop_assert_eq!(truth, &MetricValue::Numeric(after_us as f64 / 1e6));
            }
        }
    }
}
