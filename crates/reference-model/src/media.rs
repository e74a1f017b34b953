use crate::ModelError;

/// The content types that requests and answers can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `text/csv`: one row, or one prediction, per line.
    Csv,
    /// `application/json`: `{"instances": […]}`, `{"predictions": […]}`.
    Json,
    /// `application/jsonlines`: one object per line.
    JsonLines,
}

impl MediaType {
    const ALL: [Self; 3] = [Self::Csv, Self::Json, Self::JsonLines];

    /// The name in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
        }
    }

    /// From a `Content-Type` header. Parameters (`; charset=utf-8`) have no meaning here.
    pub fn of_content_type(header: &str) -> Result<Self, ModelError> {
        let essence = header.split(';').next().unwrap_or_default().trim();
        Self::ALL
            .into_iter()
            .find(|media| media.name().eq_ignore_ascii_case(essence))
            .ok_or_else(|| ModelError::UnsupportedMediaType(header.to_owned()))
    }

    /// What to answer with: the best of the `Accept` header (RFC 9110, section 12.5.1), and among equals the request's own
    /// type. Without the header, the request's own type.
    pub fn accepted(header: Option<&str>, request: Self) -> Result<Self, ModelError> {
        let Some(header) = header else { return Ok(request) };
        let ranges: Vec<(&str, f32)> = header.split(',').filter_map(media_range).collect();
        if ranges.is_empty() {
            return Ok(request);
        }
        let mut best = None;
        for media in [request].into_iter().chain(Self::ALL) {
            let quality = media.quality(&ranges);
            if quality > best.map_or(0.0, |(_, quality)| quality) {
                best = Some((media, quality));
            }
        }
        best.map(|(media, _)| media).ok_or_else(|| ModelError::NotAcceptable(header.to_owned()))
    }

    /// The quality that the most specific of `ranges` gives this type; 0 where none matches.
    fn quality(self, ranges: &[(&str, f32)]) -> f32 {
        let name = self.name();
        let family = name.split_once('/').map_or(name, |(family, _)| family);
        let specificity = |range: &str| match range.split_once('/') {
            _ if range.eq_ignore_ascii_case(name) => Some(2),
            Some((start, "*")) if start.eq_ignore_ascii_case(family) => Some(1),
            Some(("*", "*")) => Some(0),
            _ => None,
        };
        let matching = ranges.iter().filter_map(|(range, quality)| Some((specificity(range)?, *quality)));
        matching.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
    }
}

/// One element of an `Accept` header with its quality, 1 where none is given. `None` where it is empty.
fn media_range(element: &str) -> Option<(&str, f32)> {
    let mut parts = element.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((range, quality.and_then(|quality| quality.trim().parse().ok()).unwrap_or(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        assert_eq!(MediaType::of_content_type("Text/CSV; charset=utf-8").unwrap(), MediaType::Csv);
        assert_eq!(MediaType::of_content_type("application/jsonlines").unwrap(), MediaType::JsonLines);
        for other in ["", "text/plain", "application/x-npy", "application/json+x"] {
            assert_eq!(MediaType::of_content_type(other).unwrap_err().status(), 415, "{other}");
        }
    }

    #[test]
    fn accept_headers() {
        use MediaType::{Csv, Json, JsonLines};
        for (accept, expected) in [
            (None, Some(Csv)),
            (Some(""), Some(Csv)),
            (Some("*/*"), Some(Csv)),
            (Some("application/json"), Some(Json)),
            (Some("application/*"), Some(Json)),
            (Some("text/html, application/jsonlines;q=0.5"), Some(JsonLines)),
            (Some("application/json;q=0.3, application/jsonlines;q=0.8"), Some(JsonLines)),
            (Some("text/csv;q=0, */*;q=0.1"), Some(Json)),
            (Some("application/json, text/csv"), Some(Csv)),
            (Some("text/html"), None),
            (Some("*/*;q=0"), None),
        ] {
            assert_eq!(MediaType::accepted(accept, Csv).ok(), expected, "{accept:?}");
        }
    }
}
