//! Values of `expect`: times of day.

use serde_json::{Value as Json, json};

use crate::config::leaf::{Invalid, Value};

const MINUTES_PER_HOUR: u16 = 60;

/// "06:00", in minutes after midnight; "24:00" is the end of the day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct TimeOfDay(pub u16);

impl TimeOfDay {
    pub(in crate::config) const END_OF_DAY: Self = Self(24 * MINUTES_PER_HOUR);
}

impl Value for TimeOfDay {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let number = |text: &str| {
            let is_number = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| text.parse::<u16>().ok()).flatten()
        };
        let parts = text.split_once(':').and_then(|(hour, minute)| {
            Some((number(hour)?, number(minute).filter(|_| minute.len() == 2)?))
        });
        let message = format!("\"{text}\" is not a time of day such as \"06:00\"");
        match parts {
            Some((hour @ 0..24, minute @ 0..60) | (hour @ 24, minute @ 0)) => {
                if text.len() < "06:00".len() {
                    return Invalid::with_suggestion(message, format!("0{text}"));
                }
                Ok(Self(hour * MINUTES_PER_HOUR + minute))
            }
            _ => Invalid::new(message),
        }
    }

    fn schema() -> Json {
        let pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$";
        json!({ "type": "string", "title": "a time of day", "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_digits_each() {
        for (text, minutes) in [("00:00", 0), ("06:30", 390), ("23:59", 1439), ("24:00", 1440)] {
            assert_eq!(TimeOfDay::parse(text).map(|time| time.0), Ok(minutes));
        }
        for wrong in
            ["", "6", "0600", "24:01", "25:00", "12:60", "12:5", "12:00:00", "-1:00", "+6:00"]
        {
            let told = TimeOfDay::parse(wrong).map(|time| time.0).unwrap_err();
            assert!(told.message.contains("is not a time of day"), "{wrong}: {}", told.message);
        }
        let told = TimeOfDay::parse("6:00").map(|time| time.0).unwrap_err();
        assert_eq!(told.suggestion.as_deref(), Some("06:00"));
    }
}
