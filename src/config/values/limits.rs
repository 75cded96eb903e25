//! Rates and daily amounts of `policy.limits`.

use serde_json::{Value as Json, json};

use super::common::{Count, parse_bytes};
use crate::config::leaf::{Choice, Invalid, Value};
use crate::data::{BANDWIDTH_MAX, BANDWIDTH_MIN};
use crate::policy::limits::{OperationPeriod, OperationRate, Per};

impl Choice for Per {
    const ALL: &'static [(&'static str, Self)] = &[
        ("user", Self::User),
        ("session", Self::Session),
        ("listener", Self::Listener),
        ("backend", Self::Backend),
        ("all", Self::All),
    ];
}

/// "20MiB/s" or "1Gbit/s", in bytes a second.
#[derive(Clone, Copy)]
pub(in crate::config) struct Bandwidth(pub u64);

const BANDWIDTH_UNITS: [(&str, u64); 6] = [
    ("KiB/s", 1 << 10),
    ("MiB/s", 1 << 20),
    ("GiB/s", 1 << 30),
    ("kbit/s", 125),
    ("Mbit/s", 125_000),
    ("Gbit/s", 125_000_000),
];

impl Value for Bandwidth {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let (digits, unit) = split_number(text);
        let message = format!("\"{text}\" is not a bandwidth such as 20MiB/s or 1Gbit/s");
        let Ok(number) = digits.parse::<u64>() else { return Invalid::new(message) };
        let Some((_, factor)) = BANDWIDTH_UNITS.iter().find(|(known, _)| *known == unit) else {
            let suggestion = meant_unit(unit).map(|unit| format!("{number}{unit}"));
            return Err(Invalid { message, suggestion });
        };
        match number.checked_mul(*factor) {
            Some(0) => {
                Invalid::new("must be more than zero; without the key nothing limits the bandwidth")
            }
            Some(rate) if rate < BANDWIDTH_MIN => Invalid::with_suggestion(
                "must be at least 64kbit/s: to clients, slower transfers look like stalled ones",
                "64kbit/s",
            ),
            Some(rate) if rate <= BANDWIDTH_MAX => Ok(Self(rate)),
            _ => Invalid::new(format!("\"{text}\" is more than 1024GiB/s")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a rate", "pattern": "^[0-9]+((K|M|G)iB|(k|M|G)bit)/s$" })
    }
}

/// "MB/s", "mbps", " MiB/s", "Mbit".
fn meant_unit(unit: &str) -> Option<&'static str> {
    let unit = unit.trim();
    let is_bits = unit.contains("bit") || (unit.contains('b') && !unit.contains('B'));
    let initial = unit.chars().next()?.to_ascii_uppercase();
    let fits = |known: &str| {
        known.starts_with(|c: char| c.to_ascii_uppercase() == initial)
            && known.contains("bit") == is_bits
    };
    BANDWIDTH_UNITS.iter().map(|(known, _)| *known).find(|known| fits(known))
}

/// "100/s" or "30/min".
impl Value for OperationRate {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let (digits, unit) = split_number(text);
        let period = match unit {
            "/s" => OperationPeriod::Second,
            "/min" => OperationPeriod::Minute,
            _ => {
                let message =
                    format!("\"{text}\" is not a number of operations such as 100/s or 30/min");
                let unit = if unit.trim().starts_with("/m") { "/min" } else { "/s" };
                let suggestion = digits.parse::<u32>().ok().map(|number| format!("{number}{unit}"));
                return Err(Invalid { message, suggestion });
            }
        };
        Ok(Self { count: Count::parse(digits)?.0, period })
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a rate", "pattern": "^[0-9]+/(s|min)$" })
    }
}

/// "10GiB", in bytes.
#[derive(Clone, Copy)]
pub(in crate::config) struct DailyBytes(pub u64);

impl Value for DailyBytes {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "0" {
            return Invalid::new("must be more than zero; to refuse all transfers, write a rule");
        }
        match parse_bytes(text)? {
            Some(0) => {
                Invalid::new("must be more than zero; to refuse all transfers, write a rule")
            }
            Some(bytes) => Ok(Self(bytes)),
            None => Invalid::new(format!("\"{text}\" is too large")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "title": "a size", "pattern": "^[0-9]+(KiB|MiB|GiB)$" })
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_have_a_unit_of_bytes_or_bits() {
        let of = |text| Bandwidth::parse(text).map(|bandwidth| bandwidth.0);
        assert_eq!(of("20MiB/s"), Ok(20 << 20));
        assert_eq!(of("1Gbit/s"), Ok(125_000_000));
        assert_eq!(of("64kbit/s"), Ok(8000));
        for (text, suggestion) in [
            ("20MB/s", Some("20MiB/s")),
            ("20 MiB/s", Some("20MiB/s")),
            ("20MiB", Some("20MiB/s")),
            ("20m", Some("20MiB/s")),
            ("1gbit/s", Some("1Gbit/s")),
            ("100Mbps", Some("100Mbit/s")),
            ("100 mb/s", Some("100Mbit/s")),
            ("100kb/s", Some("100kbit/s")),
            ("1Kbit/s", Some("1kbit/s")),
            ("63kbit/s", Some("64kbit/s")),
            ("20", None),
            ("fast", None),
            ("-1MiB/s", None),
            ("1.5MiB/s", None),
            ("0MiB/s", None),
            ("99999999999999999999MiB/s", None),
            ("2000GiB/s", None),
        ] {
            let told = of(text).unwrap_err();
            assert_eq!(told.suggestion.as_deref(), suggestion, "{text}: {}", told.message);
        }
    }

    #[test]
    fn operations_are_counted_in_seconds_or_minutes() {
        let rate = OperationRate::parse("100/s").unwrap();
        assert_eq!(rate, OperationRate { count: 100, period: OperationPeriod::Second });
        let rate = OperationRate::parse("30/min").unwrap();
        assert_eq!(rate, OperationRate { count: 30, period: OperationPeriod::Minute });
        for (text, suggestion) in [
            ("100", Some("100/s")),
            ("100/sec", Some("100/s")),
            ("100/m", Some("100/min")),
            ("0/s", None),
            ("/s", None),
        ] {
            let told = OperationRate::parse(text).unwrap_err();
            assert_eq!(told.suggestion.as_deref(), suggestion, "{text}: {}", told.message);
        }
    }

    #[test]
    fn daily_bytes_are_a_size_above_zero() {
        assert!(DailyBytes::parse("10GiB").is_ok_and(|bytes| bytes.0 == 10 << 30));
        assert!(DailyBytes::parse("5000GiB").is_ok());
        for text in ["0", "0GiB", "10", "10GB", "99999999999999999999GiB", "99999999999999GiB"] {
            assert!(DailyBytes::parse(text).is_err(), "{text}");
        }
    }
}
