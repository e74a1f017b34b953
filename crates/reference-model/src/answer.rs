//! Predictions as a response body.

use std::io::Write;

use crate::MediaType;

/// One prediction per row, in the shortest decimal form that reads back as the same bits.
pub(crate) fn write(media: MediaType, predictions: &[f64]) -> Vec<u8> {
    let mut body = Vec::with_capacity(32 + predictions.len() * 24);
    match media {
        MediaType::Csv => {
            for prediction in predictions {
                number(&mut body, *prediction);
                body.push(b'\n');
            }
        }
        MediaType::Json => {
            body.extend_from_slice(b"{\"predictions\":[");
            for (index, prediction) in predictions.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                number(&mut body, *prediction);
            }
            body.extend_from_slice(b"]}");
        }
        MediaType::JsonLines => {
            for prediction in predictions {
                body.extend_from_slice(b"{\"prediction\":");
                number(&mut body, *prediction);
                body.extend_from_slice(b"}\n");
            }
        }
    }
    body
}

/// Debug is the standard library's shortest form that keeps an exponent where one is shorter. Writing to memory cannot
/// fail.
fn number(body: &mut Vec<u8>, number: f64) {
    let _ = write!(body, "{number:?}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies() {
        let text = |media| String::from_utf8(write(media, &[412.0, 0.1 + 0.2, 1e300])).unwrap();
        assert_eq!(text(MediaType::Csv), "412.0\n0.30000000000000004\n1e300\n");
        assert_eq!(text(MediaType::Json), r#"{"predictions":[412.0,0.30000000000000004,1e300]}"#);
        assert_eq!(
            text(MediaType::JsonLines),
            "{\"prediction\":412.0}\n{\"prediction\":0.30000000000000004}\n{\"prediction\":1e300}\n"
        );
        assert_eq!(write(MediaType::Json, &[]), br#"{"predictions":[]}"#);
    }

    proptest! {
        #[test]
        fn no_bit_is_lost(predictions in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..20)) {
            let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u64>>();
            let csv = String::from_utf8(write(MediaType::Csv, &predictions)).unwrap();
            let read: Vec<f64> = csv.lines().map(|line| line.parse().unwrap()).collect();
            prop_assert_eq!(bits(&read), bits(&predictions));
            let json: serde_json::Value = serde_json::from_slice(&write(MediaType::Json, &predictions)).unwrap();
            let read: Vec<f64> = json["predictions"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
            prop_assert_eq!(bits(&read), bits(&predictions));
        }
    }
}
