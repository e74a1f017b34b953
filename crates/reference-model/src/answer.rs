//! Predictions as a response body.

use std::io::Write;

use crate::MediaType;

/// The quantiles of each row beside its prediction.
pub(crate) struct Quantiles<'a> {
    /// Which, ascending.
    pub(crate) of: &'a [f64],
    /// Those of the first row, then those of the second.
    pub(crate) values: &'a [f64],
}

/// One prediction per row, in the shortest decimal form that reads back as the same bits; quantiles after it where they are
/// asked for.
pub(crate) fn write(media: MediaType, predictions: &[f64], quantiles: Option<&Quantiles<'_>>) -> Vec<u8> {
    let width = quantiles.map_or(0, |quantiles| quantiles.of.len());
    let mut body = Vec::with_capacity(32 + predictions.len() * (24 + 24 * width));
    let of_row = |row: usize| quantiles.map_or(&[][..], |quantiles| &quantiles.values[row * width..(row + 1) * width]);
    match media {
        MediaType::Csv => {
            for (row, prediction) in predictions.iter().enumerate() {
                number(&mut body, *prediction);
                for quantile in of_row(row) {
                    body.push(b',');
                    number(&mut body, *quantile);
                }
                body.push(b'\n');
            }
        }
        MediaType::Json => {
            body.extend_from_slice(b"{\"predictions\":");
            list(&mut body, predictions.iter());
            if let Some(quantiles) = quantiles {
                named(&mut body, quantiles.of, |body, index| {
                    list(body, quantiles.values.iter().skip(index).step_by(width));
                });
            }
            body.push(b'}');
        }
        MediaType::JsonLines => {
            for (row, prediction) in predictions.iter().enumerate() {
                body.extend_from_slice(b"{\"prediction\":");
                number(&mut body, *prediction);
                if let Some(quantiles) = quantiles {
                    named(&mut body, quantiles.of, |body, index| number(body, of_row(row)[index]));
                }
                body.extend_from_slice(b"}\n");
            }
        }
    }
    body
}

fn list<'a>(body: &mut Vec<u8>, numbers: impl Iterator<Item = &'a f64>) {
    body.push(b'[');
    for (index, value) in numbers.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        number(body, *value);
    }
    body.push(b']');
}

/// `,"quantiles":{"0.1":…}`
fn named(body: &mut Vec<u8>, quantiles: &[f64], mut value: impl FnMut(&mut Vec<u8>, usize)) {
    body.extend_from_slice(b",\"quantiles\":{");
    for (index, quantile) in quantiles.iter().enumerate() {
        let _ = write!(body, "{}\"{quantile}\":", if index > 0 { "," } else { "" });
        value(body, index);
    }
    body.push(b'}');
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
        let text = |media| String::from_utf8(write(media, &[412.0, 0.1 + 0.2, 1e300], None)).unwrap();
        assert_eq!(text(MediaType::Csv), "412.0\n0.30000000000000004\n1e300\n");
        assert_eq!(text(MediaType::Json), r#"{"predictions":[412.0,0.30000000000000004,1e300]}"#);
        assert_eq!(
            text(MediaType::JsonLines),
            "{\"prediction\":412.0}\n{\"prediction\":0.30000000000000004}\n{\"prediction\":1e300}\n"
        );
        assert_eq!(write(MediaType::Json, &[], None), br#"{"predictions":[]}"#);
    }

    #[test]
    fn quantiles_stand_beside_the_prediction() {
        let quantiles = Quantiles { of: &[0.1, 0.9], values: &[1.0, 3.0, 10.0, 30.5] };
        let text = |media| String::from_utf8(write(media, &[2.0, 20.0], Some(&quantiles))).unwrap();
        assert_eq!(text(MediaType::Csv), "2.0,1.0,3.0\n20.0,10.0,30.5\n");
        assert_eq!(
            text(MediaType::Json),
            r#"{"predictions":[2.0,20.0],"quantiles":{"0.1":[1.0,10.0],"0.9":[3.0,30.5]}}"#
        );
        assert_eq!(
            text(MediaType::JsonLines),
            "{\"prediction\":2.0,\"quantiles\":{\"0.1\":1.0,\"0.9\":3.0}}\n\
             {\"prediction\":20.0,\"quantiles\":{\"0.1\":10.0,\"0.9\":30.5}}\n"
        );
    }

    proptest! {
        #[test]
        fn no_bit_is_lost(predictions in prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 0..20)) {
            let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<u64>>();
            let csv = String::from_utf8(write(MediaType::Csv, &predictions, None)).unwrap();
            let read: Vec<f64> = csv.lines().map(|line| line.parse().unwrap()).collect();
            prop_assert_eq!(bits(&read), bits(&predictions));
            let json: serde_json::Value = serde_json::from_slice(&write(MediaType::Json, &predictions, None)).unwrap();
            let read: Vec<f64> = json["predictions"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
            prop_assert_eq!(bits(&read), bits(&predictions));
        }
    }
}
