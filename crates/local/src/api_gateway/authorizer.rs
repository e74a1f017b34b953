//! IAM authorization of an HTTP API: who sends must have signed, with Signature Version 4.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>
//!
//! A signature is checked by making it anew, with AWS's own library, of what the request says was signed.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use http::{HeaderMap, request::Parts};

use crate::{
    http_server::text,
    s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY},
};

const SERVICE: &str = "execute-api";
/// A signature is good for five minutes, before and after.
const LARGEST_SKEW: Duration = Duration::from_mins(5);

/// Checks signatures for one region, by the one key that this cloud gives out.
pub(crate) struct Authorizer {
    pub(crate) region: String,
}

/// What an `Authorization` header claims.
#[derive(Debug, PartialEq, Eq)]
struct Claim<'a> {
    key_id: &'a str,
    day: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

impl Authorizer {
    /// Whether the request is signed by whom it may be, lately, and is what was signed.
    pub(crate) fn allows(&self, head: &Parts, body: &[u8], now: SystemTime) -> bool {
        self.check(head, body, now).is_some()
    }

    fn check(&self, head: &Parts, body: &[u8], now: SystemTime) -> Option<()> {
        let claim = Claim::parse(text(&head.headers, "authorization")?)?;
        let date = text(&head.headers, "x-amz-date")?;
        let time = signing_time(date)?;
        let skew = now.duration_since(time).unwrap_or_else(|early| early.duration());
        let fits = claim.key_id == ACCESS_KEY_ID
            && claim.region == self.region
            && claim.service == SERVICE
            && date.starts_with(claim.day)
            && claim.signed_headers.contains(&"host")
            && claim.signed_headers.contains(&"x-amz-date")
            && skew <= LARGEST_SKEW;
        if !fits {
            return None;
        }
        (self.signature(head, body, time, &claim)? == claim.signature).then_some(())
    }

    fn signature(&self, head: &Parts, body: &[u8], time: SystemTime, claim: &Claim<'_>) -> Option<String> {
        let mut settings = SigningSettings::default();
        // What is signed is what the request says: proxies are its sender's business.
        settings.excluded_headers = None;
        if claim.signed_headers.contains(&"x-amz-content-sha256") {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "the local cloud").into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(time)
            .settings(settings)
            .build()
            .ok()?;
        let headers = signed(&head.headers, &claim.signed_headers)?;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = format!("http://{}{path}", text(&head.headers, "host")?);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = SignableRequest::new(head.method.as_str(), uri, headers, SignableBody::Bytes(body)).ok()?;
        let (_, signature) = sign(request, &params.into()).ok()?.into_parts();
        Some(signature)
    }
}

/// The signed headers with their values; those that signing adds by itself are left out. Nothing where one is not there.
fn signed(headers: &HeaderMap, names: &[&str]) -> Option<Vec<(String, String)>> {
    let by_itself = ["x-amz-date", "x-amz-content-sha256"];
    let names = names.iter().filter(|name| !by_itself.contains(name));
    names
        .map(|name| {
            let values: Option<Vec<&str>> = headers.get_all(*name).iter().map(|value| value.to_str().ok()).collect();
            let values = values.filter(|values| !values.is_empty())?;
            Some(((*name).to_owned(), values.join(",")))
        })
        .collect()
}

fn signing_time(date: &str) -> Option<SystemTime> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    let seconds = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?.as_second();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?))
}

impl<'a> Claim<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let fields = header.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let field = |name: &str| {
            let mut found = fields.split(',').filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            found.next()
        };
        let scope: Vec<&str> = field("Credential")?.split('/').collect();
        let [key_id, day, region, service, "aws4_request"] = scope[..] else { return None };
        let signed_headers = field("SignedHeaders")?.split(';').collect();
        Some(Self { key_id, day, region, service, signed_headers, signature: field("Signature")? })
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    // By botocore 1.43 (`SigV4Auth`), which shares no code with what is tested.
    const DATE: &str = "20260214T172549Z";
    const BODY: &[u8] = br#"{"inputs": {}}"#;
    const SIGNATURE: &str = "d0852ec191930bab0ab866c4fbbf7e8428b5fc824daf956674ed7504e232df48";

    fn request(authorization: Option<&str>, path: &str) -> Parts {
        let mut request = Request::post(path)
            .header("Host", "127.0.0.1:8000")
            .header("X-Amz-Date", DATE)
            .header("Content-Type", "application/json");
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn authorization(signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20260214/us-east-1/execute-api/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
        )
    }

    #[test]
    fn what_botocore_signs_is_let_in_and_nothing_else() {
        let authorizer = Authorizer { region: "us-east-1".to_owned() };
        let now = signing_time(DATE).unwrap() + Duration::from_mins(4);
        let path = "/v1/predictions?model=a%20b&x=1";
        let allows = |authorization: Option<&str>, path: &str, body: &[u8], now| {
            authorizer.allows(&request(authorization, path), body, now)
        };
        let good = authorization(SIGNATURE);
        assert!(allows(Some(&good), path, BODY, now));
        assert!(!allows(None, path, BODY, now), "unsigned");
        assert!(!allows(Some(&good), path, b"{}", now), "another body");
        assert!(!allows(Some(&good), "/v1/outcomes?model=a%20b&x=1", BODY, now), "another path");
        assert!(!allows(Some(&good), "/v1/predictions?model=a%20b&x=2", BODY, now), "another query");
        assert!(!allows(Some(&good), path, BODY, now + Duration::from_mins(2)), "too old");
        assert!(!allows(Some(&authorization(&SIGNATURE.replace('0', "1"))), path, BODY, now), "another signature");
        for (part, other) in [
            ("us-east-1", "eu-west-1"),
            ("execute-api", "s3"),
            (ACCESS_KEY_ID, "AKIDEXAMPLE"),
            ("20260214/", "20260213/"),
            ("host;", ""),
            (";x-amz-date", ""),
            ("content-type;", ""),
            ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
            ("Signature=", "Signature"),
        ] {
            assert!(!allows(Some(&good.replacen(part, other, 1)), path, BODY, now), "{part}");
        }
        let elsewhere = Authorizer { region: "eu-west-1".to_owned() };
        assert!(!elsewhere.allows(&request(Some(&good), path), BODY, now));
    }

    #[test]
    fn broken_headers_are_refused() {
        for header in
            ["", "Bearer x", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0"]
        {
            assert_eq!(Claim::parse(header), None, "{header}");
        }
    }
}
