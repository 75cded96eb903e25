//! When the certificates end that the configuration in force names, the first end first.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::net::CertificateEnd;

pub(super) fn json(ends: &[CertificateEnd], now: Timestamp) -> Value {
    let mut ends: Vec<_> = ends.iter().collect();
    ends.sort_by_key(|end| end.until);
    let certificates = ends.into_iter().map(|end| {
        // Later than the year 9999: as good as never.
        let until = Timestamp::from_second(end.until).ok();
        json!({
            "kind": end.kind.as_str(),
            "used_by": end.used_by,
            "file": end.file,
            "until": until.map(|until| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            "seconds_left": end.until.saturating_sub(now.as_second()),
        })
    });
    json!({ "certificates": certificates.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::CertificateKind;

    #[test]
    fn the_first_end_is_first_whatever_the_date() {
        let end = |until| CertificateEnd {
            kind: CertificateKind::Crl,
            used_by: "listeners.ftps".into(),
            file: "crl.pem".into(),
            from: 0,
            until,
        };
        let ends = [end(i64::MAX), end(100), end(i64::MIN)];
        let shown = json(&ends, Timestamp::from_second(40).unwrap());
        let shown: Vec<_> = shown["certificates"].as_array().unwrap().iter().collect();
        assert!(shown[0]["until"].is_null() && shown[2]["until"].is_null());
        assert_eq!(shown[1]["until"], "1970-01-01T00:01:40Z");
        assert_eq!((&shown[1]["seconds_left"], &shown[1]["kind"]), (&json!(60), &json!("crl")));
    }
}
